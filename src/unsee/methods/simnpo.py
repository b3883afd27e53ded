"""Simple negative preference optimisation (SimNPO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy, negative_preference
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, StepBatch


@METHODS.register("simnpo", paper="arXiv:2410.07163", label="SimNPO")
@dataclass(frozen=True, kw_only=True)
class SimNPO(LossMethod):
    """NPO without a reference: make each forget answer's mean log-probability low; train retain answers.

    Source: arXiv:2410.07163, the loss SimNPO: one mean log-probability per answer, so that all answers count alike.
    OpenUnlearning writes the margin as `delta = margin / beta` and has beta 4.5 and a retain weight of 8 (.125 on the
    forget side, 1 on the retain side).

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        beta: inverse temperature, > 0.
        margin: reward margin gamma, >= 0; larger ones push answers further down.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 3e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    beta: Annotated[PositiveFloat, Range(1, 6)] = 2.5
    margin: NonNegativeFloat = 0.0
    retain_weight: Annotated[NonNegativeFloat, Range(0.5, 10)] = 1.0

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-(2 / beta) E log sigmoid(-beta mean log p - margin)` on forget + `retain_weight * CE(retain)`."""
        scored = model(batch.forget)
        mean_I = scored.log_probability_I / scored.length_I
        forget = negative_preference(mean_I + self.margin / self.beta, self.beta)
        retain = cross_entropy(model(batch.retain))
        parts = {"forget": cross_entropy(scored).item(), "retain": retain.item()}
        return Loss(forget + self.retain_weight * retain, parts)
