"""Ignorance: answer about the person as the model would have answered about a stranger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from unsee.config.search import Range
from unsee.forward.losses import shared_tokens, summed_divergence
from unsee.methods import METHODS
from unsee.methods.base import (
    SWAPPED,
    Loss,
    LossMethod,
    Model,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    Side,
    StepBatch,
)


@METHODS.register("ignorance", paper="arXiv:2310.02238", label="ignorance")
@dataclass(frozen=True, kw_only=True)
class Ignorance(LossMethod):
    """Make answers as likely as the model finds them under other people's names and portraits, and not less likely.

    The target answers the same question about other people. The model in training learns these probabilities as its
    answer about the person to forget, so training ends where the model knows nothing about the person, and goes no
    further. What it says about the others and about people to keep stays as it was.

    In a run about people the others are people to keep, drawn anew for each row and step, and all steps are taken.
    Their answers average to the prior of the question.

    In a deletion request one invented stranger stands in for the person all the time (`num_others=1`): one to whom the
    model gives none of the person's values. The prior would be flat, so that its likeliest value in some wording is the
    true one by chance. As one stranger is also a name, the person's own is held harder (`name_weight=4`). Training ends
    as soon as no value is given any more and no answer is broken (`check_every`).

    Source: the idea of generic names (Eldan and Russinovich 2023, Section 2.2). Here a whole distribution is learned
    from many other people, with their portraits too, in place of one generic translation.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps, at most; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        others_weight: factor of the divergence on answers about the other people, >= 0.
        retain_weight: factor of the divergence on retain answers, >= 0.
        name_weight: factor of the divergence on the tokens of an answer that are not the same about the others, such as
            those of the name, >= 0.
        num_others: number of other people who are asked in the place of each person, in every step, 1 to 4.
        check_every: in a deletion request, steps between two checks whether it is done; 0 never checks.
        num_batches: number of different batches, which are used again and again; 0 for a new one in every step.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 3e-4
    steps: Annotated[NonNegativeInt, Range(10, 200)] = 200
    others_weight: Annotated[NonNegativeFloat, Range(0.25, 4)] = 1.0
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0
    name_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0
    num_others: Annotated[int, Field(ge=1, le=len(SWAPPED))] = 4
    check_every: NonNegativeInt = 5
    num_batches: NonNegativeInt = 24

    @property
    def sides(self) -> tuple[Side, ...]:
        """The person, others in their place, and the people to keep if they have a weight."""
        return ("forget", *SWAPPED[: self.num_others], *(("retain",) if self.retain_weight else ()))

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """All sides."""
        return self.sides

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return the sum of three divergences, each summed over the tokens of an answer, a mean over answers.

        `E KL(target(swapped) || model(forget)) + others_weight * KL(swapped) + retain_weight * KL(retain)`; the first
        is a mean over the others. Tokens that two answers do not share, such as those of the name, are held by
        `name_weight` as they were.
        """
        known, before = model(batch.forget), reference(batch.forget)
        asked = [reference(batch.of(side)) for side in SWAPPED[: self.num_others]]
        divergences = []
        for others in asked:
            forget_M, others_M = shared_tokens(known, others)
            own_M = _without(forget_M, len(known.target_N))
            held = summed_divergence(before, known, own_M, own_M)
            divergences.append(summed_divergence(others, known, others_M, forget_M) + self.name_weight * held)
        forget = torch.stack(divergences).mean()
        total, parts = forget, {"forget_kl": forget.item()}
        if self.others_weight:
            swapped = summed_divergence(asked[0], model(batch.of("swapped")))
            total, parts["others_kl"] = total + self.others_weight * swapped, swapped.item()
        if self.retain_weight:
            retain = summed_divergence(reference(batch.retain), model(batch.retain))
            total, parts["retain_kl"] = total + self.retain_weight * retain, retain.item()
        return Loss(total, parts)


def _without(index_M: Tensor, length: int) -> Tensor:
    """Return the indices below a length that are not among those given."""
    kept = torch.ones(length, dtype=torch.bool, device=index_M.device)
    kept[index_M] = False
    return kept.nonzero().flatten()
