"""Identities between the formulas of the papers, on fixed scores."""

import math
from dataclasses import replace

import pytest
import torch

from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError, ModelError
from unsee.forward.losses import Scored, cross_entropy, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import StepBatch

PAIR = StepBatch({"forget": "forget", "retain": "retain"})


@pytest.fixture
def model():
    """A model that knows two batches by name."""
    item_N = torch.tensor([0, 0, 1])
    answers = {
        side: Scored(torch.randn(3, 7), torch.arange(3), torch.tensor([1, 2, 3]), item_N, 2) for side in PAIR.sides
    }
    return answers.__getitem__


def loss(name, model, reference, **options):
    return METHODS.get(name)(**options).loss(model, reference, PAIR).total.item()


def test_gradient_ascent_is_minus_the_cross_entropy(model):
    assert loss("gradient_ascent", model, None) == -cross_entropy(model("forget")).item()


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_gradient_difference_is_retain_minus_forget(model, weight):
    expected = weight * cross_entropy(model("retain")) - cross_entropy(model("forget"))
    assert loss("gradient_difference", model, None, retain_weight=weight) == pytest.approx(expected.item())


def test_kl_minimisation_starts_as_gradient_ascent(model):
    ascent = loss("gradient_ascent", model, None)
    assert loss("kl_minimisation", model, model) == pytest.approx(ascent)
    moved = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in PAIR.sides}
    divergence = kl_divergence(moved["retain"], model("retain")).item()
    assert loss("kl_minimisation", model, moved.__getitem__, retain_weight=3.0) == pytest.approx(
        ascent + 3 * divergence
    )


def test_npo_starts_at_two_ln_two_over_beta(model):
    assert loss("npo", model, model, beta=0.2, retain_weight=0.0) == pytest.approx(2 * math.log(2) / 0.2)
    expected = 2 * math.log(2) / 0.2 + cross_entropy(model("retain")).item()
    assert loss("npo", model, model, beta=0.2, retain_weight=1.0) == pytest.approx(expected)


def log_probabilities(scored):
    """Of each token, by hand."""
    return scored.logits_UV.log_softmax(-1)[range(3), scored.target_N]


@pytest.mark.parametrize("name", ["gradient_difference", "kl_minimisation"])
def test_the_losses_of_alternating_sides_sum_to_the_joint_loss(model, name):
    moved = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in PAIR.sides}.__getitem__
    method = METHODS.get(name)(schedule="alternating", retain_weight=1.7)
    halves = [method.loss(model, moved, StepBatch({side: side})) for side in PAIR.sides]
    assert halves[0].total.item() == pytest.approx(-cross_entropy(model("forget")).item())
    assert sum(half.total.item() for half in halves) == pytest.approx(loss(name, model, moved, retain_weight=1.7))
    assert [("forget" in half.parts) for half in halves] == [True, False]


def test_batchmean_sums_the_divergence_over_tokens_and_divides_by_sequences(model):
    moved = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in PAIR.sides}.__getitem__
    p, q = moved("retain").logits_UV.softmax(-1), model("retain").logits_UV.softmax(-1)
    by_hand = (p * (p / q).log()).sum().item() / 2
    ascent = loss("gradient_ascent", model, None)
    found = loss("kl_minimisation", model, moved, reduction="batchmean", cross_entropy_weight=1.0)
    assert found == pytest.approx(ascent + by_hand + cross_entropy(model("retain")).item(), rel=1e-5)
    assert loss("kl_minimisation", model, moved) == pytest.approx(ascent + by_hand * 2 / 3, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.4])
def test_npo_of_a_batch_has_one_ratio_of_mean_cross_entropies(model, beta):
    reference = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in PAIR.sides}.__getitem__
    now, before = (-log_probabilities(which("forget")).mean().item() for which in (model, reference))
    expected = -(2 / beta) * math.log(1 / (1 + math.exp(-beta * (now - before))))
    found = loss("npo", model, reference, beta=beta, reduction="batch", retain_weight=0.0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_npo_per_token_has_one_ratio_of_geometric_means_for_each_answer(model):
    reference = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in PAIR.sides}.__getitem__
    now, before = (log_probabilities(which("forget")).tolist() for which in (model, reference))
    ratios = [sum(now[:2]) / 2 - sum(before[:2]) / 2, now[2] - before[2]]
    expected = sum(-(2 / 0.3) * math.log(1 / (1 + math.exp(0.3 * ratio))) for ratio in ratios) / 2
    found = loss("npo", model, reference, beta=0.3, reduction="answer_mean", retain_weight=0.0)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found != pytest.approx(loss("npo", model, reference, beta=0.3, retain_weight=0.0))


@pytest.mark.parametrize("name", ["gradient_ascent", "gradient_difference", "kl_minimisation", "npo"])
def test_a_method_has_steps_or_epochs_and_not_both(name):
    assert METHODS.get(name)(steps=0, epochs=2).epochs == 2
    for options in ({"epochs": 2}, {"steps": 0}):
        with pytest.raises(ConfigError, match=f"^method.{name}: steps and epochs: give exactly one"):
            build_dataclass(METHODS.get(name), options, f"method.{name}")


def test_prompting_inserts_the_names_into_any_instruction():
    method = METHODS.get("prompting")(instruction="Never speak of {names} or of {other}.")
    assert method.system_prompt(("Ada", "Bo")) == "Never speak of Ada, Bo or of {other}."


def test_a_side_that_a_step_does_not_have_is_an_error():
    with pytest.raises(ModelError, match="no retain batch"):
        StepBatch({"forget": "forget"}).retain  # noqa: B018
