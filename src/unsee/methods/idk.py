"""Fine-tuning on refusals (IDK), also called preference optimisation (PO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, Side, StepBatch


@METHODS.register("idk", paper="arXiv:2401.06121", label="IDK")
@dataclass(frozen=True, kw_only=True)
class IDK(LossMethod):
    """Answer forget questions with refusals ("preference optimisation" of TOFU); train retain answers.

    Source: arXiv:2401.06121, Section 4. The refusals are ours, drawn anew for each question. The method that CLEAR's
    code calls DPO is this one without a retain side (`retain_weight = 0`).

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """The forget questions with refusals, and the retain side."""
        return ("refusal", "retain")

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `CE(refusal) + retain_weight * CE(retain)`."""
        refusal, retain = cross_entropy(model(batch.of("refusal"))), cross_entropy(model(batch.retain))
        return Loss(refusal + self.retain_weight * retain, {"refusal": refusal.item(), "retain": retain.item()})
