"""Gradient ascent weighted by saturation and importance (SatImp)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, StepBatch


@METHODS.register("satimp", paper="arXiv:2505.11953", label="SatImp")
@dataclass(frozen=True, kw_only=True)
class SatImp(LossMethod):
    """Gradient ascent in which forget tokens that are neither forgotten nor certain count most; train retain answers.

    Source: arXiv:2505.11953 (the weight `p^beta1 (1 - p)^beta2` has no gradient). OpenUnlearning's configuration weighs
    the retain side ten times as much as the forget side (`retain_weight = 10`), its class the other way round.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        saturation: exponent beta1 of p, >= 0; tokens that are forgotten already count less.
        importance: exponent beta2 of 1 - p, >= 0; tokens that anybody could guess count less.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    saturation: Annotated[NonNegativeFloat, Range(0.5, 8)] = 5.0
    importance: Annotated[NonNegativeFloat, Range(0.1, 2)] = 1.0
    retain_weight: Annotated[NonNegativeFloat, Range(0.1, 10)] = 1.0

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `E p^beta1 (1 - p)^beta2 log p` on forget, weights constant, + `retain_weight * CE(retain)`."""
        scored = model(batch.forget)
        log_p_N = scored.log_probability_N
        p_N = log_p_N.detach().exp()
        forget = (p_N**self.saturation * (1 - p_N) ** self.importance * log_p_N).mean()
        retain = cross_entropy(model(batch.retain))
        parts = {"forget": -log_p_N.mean().item(), "retain": retain.item()}
        return Loss(forget + self.retain_weight * retain, parts)
