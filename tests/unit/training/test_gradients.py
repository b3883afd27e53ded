"""A method that sees the gradients of its losses apart."""

from dataclasses import dataclass

import pytest
import torch
from trainings import SCHEDULE, STEPS, pairs, prepared, same, weights

from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import GradientMethod, Loss
from unsee.training.train import train

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Apart(GradientMethod):
    """Ascend on forget and descend on retain; with `project`, without what would raise the retain loss."""

    learning_rate: float = 1e-3
    steps: int = STEPS
    project: bool = False

    def term(self, name, model, reference, batch):
        loss = cross_entropy(model(batch.of(name))) * (-1 if name == "forget" else 1)
        return Loss(loss, {name: loss.item()})

    def combine(self, gradients, fisher):
        forget, retain = gradients["forget"], gradients["retain"]
        if self.project:
            dot = sum((f * r).sum() for f, r in zip(forget, retain, strict=True))
            square = sum((r * r).sum() for r in retain)
            forget = [f - min(dot / square, torch.zeros(())) * r for f, r in zip(forget, retain, strict=True)]
            assert sum((f * r).sum() for f, r in zip(forget, retain, strict=True)) >= -1e-4
        return [f + r for f, r in zip(forget, retain, strict=True)]


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_gradients_that_are_added_up_again_train_as_the_sum_of_the_losses(trainable):
    found = []
    for method in (Apart(), METHODS.get("gradient_difference")()):
        vlm, parameters = prepared(trainable)
        losses = []
        train(
            vlm, method, pairs(vlm), SCHEDULE, parameters, name="apart",
            on_step=lambda step, loss, rate, losses=losses: losses.append(loss.total.item()),
        )  # fmt: skip
        found.append((losses, weights(parameters)))
    (losses, ends), (other_losses, other_ends) = found
    assert losses == pytest.approx(other_losses, rel=1e-3)
    assert all(torch.allclose(a, b, atol=2e-3) for a, b in zip(ends, other_ends, strict=True))


def test_a_gradient_that_is_projected_takes_another_way():
    ends = []
    for project in (False, True):
        vlm, parameters = prepared("lora")
        train(vlm, Apart(project=project), pairs(vlm), SCHEDULE, parameters, name="apart")
        ends.append(weights(parameters))
    assert not same(*ends)
