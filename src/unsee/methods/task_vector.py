"""Task-vector negation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    ArithmeticMethod,
    Batches,
    Change,
    Deltas,
    Loss,
    Model,
    NonNegativeInt,
    PositiveFloat,
    Side,
    StepBatch,
)
from unsee.models.vlm import VLM


@METHODS.register("task_vector", paper="arXiv:2212.04089")
@dataclass(frozen=True, kw_only=True)
class TaskVector(ArithmeticMethod):
    """Fine-tune on the forget answers and go as far in the opposite direction; no retain data are used.

    Source: arXiv:2212.04089, Section 3: `theta = theta_0 - strength (theta_forget - theta_0)`. The paper chooses the
    strength on validation data.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        strength: factor of the negated change, > 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 20
    strength: Annotated[PositiveFloat, Range(0.25, 2)] = 1.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """The forget side."""
        return ("forget",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `CE(forget)`, which is lowered."""
        forget = cross_entropy(model(batch.forget))
        return Loss(forget, {"forget": forget.item()})

    def after_training(self, changes: Mapping[str, Change], vlm: VLM, batches: Batches) -> Deltas:
        """Return the change times `-strength`."""
        (change,) = changes.values()
        return Deltas(deltas={name: -self.strength * delta for name, delta in change.items()})
