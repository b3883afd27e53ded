"""Gradient difference (GD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unsee.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, Model, NonNegativeFloat, Pair, PositiveFloat, PositiveInt, Side


@METHODS.register("gradient_difference", paper="arXiv:2203.12817")
@dataclass(frozen=True, kw_only=True)
class GradientDifference:
    """Raise the cross-entropy of the forget answers while lowering that of the retain answers.

    Deviation from the MLLMU-Bench code: both terms stand in one step (the paper's formula); the code runs a whole
    pass of ascent and then a whole pass of descent.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps, > 0.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    sides: ClassVar[tuple[Side, ...]] = ("forget", "retain")
    reference_sides: ClassVar[tuple[Side, ...]] = ()
    learning_rate: PositiveFloat = 1e-4
    steps: PositiveInt = 30
    retain_weight: NonNegativeFloat = 1.0

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """`-CE(forget) + retain_weight * CE(retain)`."""
        forget, retain = cross_entropy(model(batch.forget)), cross_entropy(model(batch.retain))
        return Loss(self.retain_weight * retain - forget, {"forget": forget.item(), "retain": retain.item()})
