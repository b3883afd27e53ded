"""The gradient of a training step: of a loss, of several terms that a method combines, or balanced between modalities.

The functions are given the step as a module that returns a loss and its parts, wrapped as accelerate wants it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from unsee.methods.base import Asked, GradientMethod, Loss, LossMethod, StepBatch
from unsee.runtime.distributed import entire, state

TakeStep = Callable[..., tuple[Tensor, Mapping[str, float]]]
LIKELIHOOD = "likelihood"
"""The term of a step with one side that is its cross-entropy, whatever the method."""
PARTS = ("image", "text", "rest")
"""What a gradient flows through: answers about the people to forget with or without a picture, and all others."""


def differentiate(
    accelerator: Accelerator,
    take_step: TakeStep,
    method: LossMethod,
    batch: StepBatch,
    trainable: Sequence[nn.Parameter],
    fisher: Mapping[Asked, Sequence[Tensor]],
) -> Loss:
    """Compute the gradient of a step (none if the loss is not finite), and return the loss."""
    find = _find_balanced if method.balance else _find_gradient
    if not isinstance(method, GradientMethod):
        return find(accelerator, take_step, batch, trainable)
    losses, gradients = [], {}
    for term in method.terms:
        losses.append(find(accelerator, take_step, batch, trainable, term))
        gradients[term] = _taken(trainable)
    for parameter, gradient in zip(trainable, method.combine(gradients, fisher), strict=True):
        parameter.grad = gradient
    parts = {name: value for loss in losses for name, value in loss.parts.items()}
    return Loss(torch.stack([loss.total.detach() for loss in losses]).sum(), parts)


def _find_gradient(
    accelerator: Accelerator, take_step: TakeStep, batch: StepBatch, trainable: Sequence[nn.Parameter], term: str = ""
) -> Loss:
    """Set the gradient of the loss of a step, or of one of its terms."""
    loss = Loss(*take_step(batch, term))
    _backward(accelerator, loss)
    return loss


def _find_balanced(
    accelerator: Accelerator, take_step: TakeStep, batch: StepBatch, trainable: Sequence[nn.Parameter], term: str = ""
) -> Loss:
    """Set the gradient, in which that of image questions on the forget side is as long as that of text questions."""
    gradients = {}
    for part in PARTS:
        loss = Loss(*take_step(batch, term, part))
        _backward(accelerator, loss)
        gradients[part] = _taken(trainable)
    image, text = (float(entire(nn.utils.get_total_norm(gradients[part]))) for part in ("image", "text"))
    scale = text / image if image and text else 1.0
    for parameter, *parts in zip(trainable, *gradients.values(), strict=True):
        parameter.grad = scale * parts[0] + parts[1] + parts[2]
    return Loss(loss.total, {**loss.parts, "image_scale": scale})


def _taken(trainable: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients of all parameters (0 where one has none), and take them from the parameters."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable]
    for parameter in trainable:
        parameter.grad = None
    return gradients


def fisher_information(
    accelerator: Accelerator,
    take_step: TakeStep,
    steps: Iterable[StepBatch],
    trainable: Sequence[nn.Parameter],
) -> list[Tensor]:
    """Return the mean over batches of the squared gradient of the cross-entropy."""
    sums = [torch.zeros_like(parameter) for parameter in trainable]
    count = 0
    for batch in steps:
        _backward(accelerator, Loss(*take_step(batch.to(accelerator.device), LIKELIHOOD)))
        for total, gradient in zip(sums, _taken(trainable), strict=True):
            total += gradient.square()
        count += 1
    return [total / max(1, count) for total in sums]


def _backward(accelerator: Accelerator, loss: Loss) -> None:
    if math.isfinite(loss.total.item()):
        # accelerate averages gradients over processes, but each has those of its own rows only: they must be summed.
        accelerator.backward(loss.total * state().num_processes)
