"""Unlearning by self-distillation on adjusted logits (UNDIAL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, Side, StepBatch


@METHODS.register("undial", paper="arXiv:2402.10052", label="UNDIAL")
@dataclass(frozen=True, kw_only=True)
class UNDIAL(LossMethod):
    """Imitate the reference with a lower logit of each forget token, a goal with an end; train retain answers.

    Source: arXiv:2402.10052; the logit of the true token alone is lowered. The paper trains the forget side alone,
    which is `retain_weight = 0`; OpenUnlearning and others add the retain side.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        strength: what is taken from the reference's logit of the true token, > 0.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 3e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    strength: Annotated[PositiveFloat, Range(2, 30)] = 10.0
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The forget side."""
        return ("forget",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-E sum_v q_v log p_v` on forget + `retain_weight * CE(retain)`.

        The mean is over answer tokens y, and `q = softmax(reference logits - strength * onehot(y))`.
        """
        scored, before = model(batch.forget), reference(batch.forget)
        logits_NV = before.logits_UV.float()[before.source_N]
        lowered_N1 = torch.full_like(before.target_N, -self.strength, dtype=logits_NV.dtype)[:, None]
        wanted_NV = logits_NV.scatter_add(1, before.target_N[:, None], lowered_N1).softmax(-1)
        forget = F.cross_entropy(scored.logits_UV.float()[scored.source_N], wanted_NV)
        retain = cross_entropy(model(batch.retain))
        parts = {"forget": cross_entropy(scored).item(), "retain": retain.item()}
        return Loss(forget + self.retain_weight * retain, parts)
