"""KL minimisation (KL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import (
    Loss,
    LossMethod,
    Model,
    NonNegativeFloat,
    NonNegativeInt,
    Order,
    PositiveFloat,
    Side,
    StepBatch,
)


@METHODS.register("kl_minimisation", paper="arXiv:2401.06121", label="KL minimisation")
@dataclass(frozen=True, kw_only=True)
class KLMinimisation(LossMethod):
    """Raise the cross-entropy of the forget answers and stay close to the target on the retain answers.

    Source: arXiv:2401.06121, Section 4 (`-CE(forget) + KL(target || model)` in one step, the divergence a mean over
    tokens). The code published with MLLMU-Bench alternates: in each epoch a pass of `-CE(forget)`, then a pass of
    `CE(retain) + KL(target || model)` in which the divergence is divided by the number of sequences only, so that it is
    a sum over their positions ("batchmean"): all of them, with image placeholders, last tokens and the padding on the
    right ("all").

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        retain_weight: factor of KL(target || model) on the retain answers, >= 0.
        cross_entropy_weight: factor of the retain cross-entropy, >= 0; 0 in the paper, 1 in the published code.
        reduction: the divergence is a "token_mean", or a "batchmean": a sum over tokens, a mean over sequences.
        positions: the positions whose divergence counts: those that predict a "scored" token, or "all" of the text and
            of its padding.
        schedule: "joint" as in the paper, or "alternating" as in the published code.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0
    cross_entropy_weight: NonNegativeFloat = 0.0
    reduction: Literal["token_mean", "batchmean"] = "token_mean"
    positions: Literal["scored", "all"] = "scored"
    schedule: Order = "joint"

    undrawn: ClassVar[frozenset[str]] = LossMethod.undrawn | {"positions"}

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The retain side."""
        return ("retain",)

    @property
    def whole_sides(self) -> tuple[Side, ...]:
        """The retain side if all positions count."""
        return ("retain",) if self.positions == "all" else ()

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return the sum of the terms whose sides the step has.

        `-CE(forget)` and `retain_weight * KL(target || model) + cross_entropy_weight * CE(retain)`.
        """
        terms, parts = [], {}
        if "forget" in batch.sides:
            forget = cross_entropy(model(batch.forget))
            terms.append(-forget)
            parts["forget"] = forget.item()
        if "retain" in batch.sides:
            scored = model(batch.retain)
            counted = scored.source_N if scored.whole_M is None else scored.whole_M
            divergence = kl_divergence(reference(batch.retain), scored, counted)
            if self.reduction == "batchmean":
                divergence = divergence * len(counted) / scored.num_items
            terms += [self.retain_weight * divergence, self.cross_entropy_weight * cross_entropy(scored)]
            parts["retain_kl"] = divergence.item()
        return Loss(torch.stack(terms).sum(), parts)
