"""Negative preference optimisation (NPO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unsee.losses import cross_entropy, negative_preference
from unsee.methods import METHODS
from unsee.methods.base import Loss, Model, NonNegativeFloat, Pair, PositiveFloat, PositiveInt, Side


@METHODS.register("npo", paper="arXiv:2404.05868")
@dataclass(frozen=True, kw_only=True)
class NPO:
    """Make forget answers less likely than under the frozen target, then stop; optionally hold the retain answers.

    Deviations from the MLLMU-Bench code: the ratio is one per answer, summed over its tokens (the code takes one
    length-normalised ratio per batch), and the reference is the target (the code takes a retrained model).

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps, > 0.
        beta: inverse temperature, > 0; towards 0 this is gradient ascent.
        retain_weight: factor of the retain cross-entropy, >= 0; 0 is NPO alone.
    """

    sides: ClassVar[tuple[Side, ...]] = ("forget", "retain")
    reference_sides: ClassVar[tuple[Side, ...]] = ("forget",)
    learning_rate: PositiveFloat = 3e-4
    steps: PositiveInt = 30
    beta: PositiveFloat = 0.1
    retain_weight: NonNegativeFloat = 1.0

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """`-(2 / beta) log sigmoid(-beta log(p / p_target))` on forget plus `retain_weight * CE(retain)`."""
        scored = model(batch.forget)
        log_ratio = scored.log_probability_I - reference(batch.forget).log_probability_I
        forget, retain = negative_preference(log_ratio, self.beta), cross_entropy(model(batch.retain))
        parts = {"forget": -scored.log_probability_N.mean().item(), "retain": retain.item()}
        return Loss(forget + self.retain_weight * retain, parts)
