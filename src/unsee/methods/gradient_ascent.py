"""Gradient ascent (GA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeInt, PositiveFloat, Side, StepBatch


@METHODS.register("gradient_ascent", paper="arXiv:2410.22108")
@dataclass(frozen=True, kw_only=True)
class GradientAscent(LossMethod):
    """Raise the cross-entropy of the forget answers; nothing protects other knowledge.

    Source: arXiv:2410.22108. Its code takes the mean over the whole text of a batch: `unlearn.labels = "full"`.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 20

    @property
    def sides(self) -> tuple[Side, ...]:
        """The forget side."""
        return ("forget",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-CE(forget)`."""
        forget = cross_entropy(model(batch.forget))
        return Loss(-forget, {"forget": forget.item()})
