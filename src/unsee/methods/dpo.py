"""Direct preference optimisation (DPO) of refusals over forget answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy, negative_preference
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, Side, StepBatch


@METHODS.register("dpo", paper="arXiv:2305.18290", label="DPO")
@dataclass(frozen=True, kw_only=True)
class DPO(LossMethod):
    """Prefer a refusal to each forget answer, both measured against the reference; train retain answers.

    Source: arXiv:2305.18290, Eq. 7, with the factor 2 / beta of NPO; refusals as preferred answers as in
    arXiv:2404.05868. The method that CLEAR's code calls DPO is `idk` without a retain side.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        beta: inverse temperature, > 0.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 3e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    beta: Annotated[PositiveFloat, Range(0.05, 2)] = 0.1
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """The forget questions with their answers, the same with refusals, and the retain side."""
        return ("forget", "refusal", "retain")

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The forget questions with both kinds of answers."""
        return ("forget", "refusal")

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-(2 / beta) E log sigmoid(beta (r(refusal) - r(forget)))` + `retain_weight * CE(retain)`.

        `r = log(p / p_reference)` of a whole answer; the refusal and the forget answer have the same question.
        """
        forget, refusal = model(batch.forget), model(batch.of("refusal"))
        forget_ratio_I = forget.log_probability_I - reference(batch.forget).log_probability_I
        refusal_ratio_I = refusal.log_probability_I - reference(batch.of("refusal")).log_probability_I
        preference = negative_preference(forget_ratio_I - refusal_ratio_I, self.beta)
        retain = cross_entropy(model(batch.retain))
        scored = {"forget": forget, "refusal": refusal}
        parts = {side: cross_entropy(one).item() for side, one in scored.items()} | {"retain": retain.item()}
        return Loss(preference + self.retain_weight * retain, parts)
