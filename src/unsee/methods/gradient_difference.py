"""Gradient difference (GD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    Loss,
    LossMethod,
    Model,
    NonNegativeFloat,
    NonNegativeInt,
    Order,
    PositiveFloat,
    StepBatch,
)


@METHODS.register("gradient_difference", paper="arXiv:2203.12817")
@dataclass(frozen=True, kw_only=True)
class GradientDifference(LossMethod):
    """Raise the cross-entropy of the forget answers and lower that of the retain answers.

    Source: arXiv:2203.12817; arXiv:2401.06121, Section 4 (`-CE(forget) + CE(retain)` in one step). The code published
    with MLLMU-Bench alternates: in each epoch a pass of `-CE(forget)`, then a pass of `CE(retain)`.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        retain_weight: factor of the retain cross-entropy, >= 0.
        schedule: "joint" as in the papers, or "alternating" as in the published code.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0
    schedule: Order = "joint"

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-CE(forget) + retain_weight * CE(retain)`, or only the term whose side the step has."""
        factors = {"forget": -1.0, "retain": self.retain_weight}
        terms = {side: cross_entropy(model(rows)) for side, rows in batch.sides.items()}
        total = torch.stack([factors[side] * term for side, term in terms.items()]).sum()
        return Loss(total, {side: term.item() for side, term in terms.items()})
