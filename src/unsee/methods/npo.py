"""Negative preference optimisation (NPO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from unsee.config.search import Range
from unsee.forward.losses import Scored, cross_entropy, negative_preference
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, Side, StepBatch


@METHODS.register("npo", paper="arXiv:2404.05868", label="NPO")
@dataclass(frozen=True, kw_only=True)
class NPO(LossMethod):
    """Make forget answers less likely than under the reference, by a bounded loss; optionally train retain answers.

    Source: arXiv:2404.05868, Eq. 3 (one ratio per answer, summed over its tokens; the reference is the model before
    unlearning). The code published with MLLMU-Bench minimises `-(2 / beta) log sigmoid(beta (CE - CE_reference))` on
    the forget side alone, CE a mean over all tokens of the batch (one length-normalised ratio per batch), beta 0.4, and
    its reference is a model trained without the forget people: an oracle, of one epoch (`teach.reference_epochs`).

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        beta: inverse temperature, > 0; towards 0 this is gradient ascent.
        retain_weight: factor of the retain cross-entropy, >= 0; 0 is NPO alone.
        reduction: the probability in a ratio: of an answer ("answer_sum"), its geometric mean per token
            ("answer_mean"), or the geometric mean of all tokens of the batch ("batch").
        reference: the "target" as in the paper, or the "oracle" as in the published code.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 3e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    beta: Annotated[PositiveFloat, Range(0.05, 2)] = 0.1
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0
    reduction: Literal["answer_sum", "answer_mean", "batch"] = "answer_sum"
    reference: Literal["target", "oracle"] = "target"

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both sides, or the forget side alone where the retain weight is 0."""
        return ("forget", "retain") if self.retain_weight else ("forget",)

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The forget side."""
        return ("forget",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-(2 / beta) E log sigmoid(-beta log(p / p_reference))` on forget + `retain_weight * CE(retain)`."""
        scored = model(batch.forget)
        log_ratio = self._log_probability(scored) - self._log_probability(reference(batch.forget))
        total, parts = negative_preference(log_ratio, self.beta), {"forget": cross_entropy(scored).item()}
        if self.retain_weight:
            retain = cross_entropy(model(batch.retain))
            total, parts["retain"] = total + self.retain_weight * retain, retain.item()
        return Loss(total, parts)

    def _log_probability(self, scored: Scored) -> Tensor:
        """Return the log-probability of each answer, or a single one of the batch, nats."""
        if self.reduction == "batch":
            return -cross_entropy(scored)[None]
        sums = scored.log_probability_I
        return sums / scored.length_I if self.reduction == "answer_mean" else sums
