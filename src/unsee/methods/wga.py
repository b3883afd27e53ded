"""Weighted gradient ascent (WGA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, StepBatch


@METHODS.register("wga", paper="arXiv:2502.19301", label="WGA")
@dataclass(frozen=True, kw_only=True)
class WGA(LossMethod):
    """Gradient ascent in which each forget token counts by its own probability, so that it ends; train retain answers.

    Source: arXiv:2502.19301, the loss WGA: the weight `p^alpha` has no gradient. Deviation: the mean is over the tokens
    of all answers, as in OpenUnlearning.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        alpha: exponent of the weight, >= 0; 0 is gradient difference.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    alpha: Annotated[NonNegativeFloat, Range(0.1, 5)] = 1.0
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `E p^alpha log p` on forget, the first factor without gradient, + `retain_weight * CE(retain)`."""
        scored = model(batch.forget)
        log_p_N = scored.log_probability_N
        forget = ((self.alpha * log_p_N.detach()).exp() * log_p_N).mean()
        retain = cross_entropy(model(batch.retain))
        parts = {"forget": -log_p_N.mean().item(), "retain": retain.item()}
        return Loss(forget + self.retain_weight * retain, parts)
