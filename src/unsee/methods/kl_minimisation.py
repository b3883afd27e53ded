"""KL minimisation (KL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unsee.losses import cross_entropy, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import Loss, Model, NonNegativeFloat, Pair, PositiveFloat, PositiveInt, Side


@METHODS.register("kl_minimisation", paper="arXiv:2401.06121")
@dataclass(frozen=True, kw_only=True)
class KLMinimisation:
    """Raise the cross-entropy of the forget answers while staying the target's twin on the retain answers.

    Deviations from the MLLMU-Bench code: the divergence is a mean over answer tokens (the code sums over all positions,
    padding and image included), and both terms stand in one step.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps, > 0.
        retain_weight: factor of KL(target || model) on the retain answers, >= 0.
    """

    sides: ClassVar[tuple[Side, ...]] = ("forget", "retain")
    reference_sides: ClassVar[tuple[Side, ...]] = ("retain",)
    learning_rate: PositiveFloat = 1e-4
    steps: PositiveInt = 30
    retain_weight: NonNegativeFloat = 1.0

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """`-CE(forget) + retain_weight * KL(target || model)` on retain."""
        forget = cross_entropy(model(batch.forget))
        retain = kl_divergence(reference(batch.retain).logits_NV, model(batch.retain).logits_NV)
        return Loss(self.retain_weight * retain - forget, {"forget": forget.item(), "retain_kl": retain.item()})
