"""Local NPO: push down only what knowing the person tells, and hold what the model says about others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from unsee.config.search import Range
from unsee.forward.losses import Scored, cross_entropy, kl_divergence, negative_preference, shared_tokens
from unsee.methods import METHODS
from unsee.methods.base import (
    Loss,
    LossMethod,
    Model,
    NonNegativeFloat,
    NonNegativeInt,
    Others,
    PositiveFloat,
    Side,
    StepBatch,
)

LEAST_WORDING = 0.25
"""The hold term is per token of the wording; where answers are hardly anything but knowledge, per four tokens."""


@METHODS.register("local_npo", paper="this project", label="local NPO")
@dataclass(frozen=True, kw_only=True)
class LocalNPO(LossMethod):
    """NPO on the tokens that only knowing the person tells; wording and answers about other people stay.

    The target answers the same question about somebody else, Z, in the place of the person X. With y a forget answer,
    p0 the target, p the model in training, and `prior_n` the target's distribution about Z at token n:

        excess_n = clip(1 - prior_n(y_n) / p0(y_n | X), 0, 1)          0: wording; 1: only knowing X tells it
        L = NPO of sum_n excess_n log p(y_n) / p0(y_n)
            + local_weight * E KL(p0(. | S) || p(. | S))
            + hold_weight * sum_n held_n / sum_n (1 - excess_n)
            + retain_weight * CE(retain)
        held_n = w_n KL(prior_n || p) + alternatives * excess_n KL(prior_n' || p')

    The push on y_n ends once it is less likely than a part of what ignorance makes it, p(y_n) < stop * prior_n(y_n):
    below, a model would hide what it knows. w_n is 1 - excess_n, and 1 as soon as p(y_n) < prior_n(y_n). A prime marks
    the distribution over all tokens but y_n: where y_n is forgotten, the model says what it would say instead.
    The sums run over all answer tokens of a step; the denominator is at least `LEAST_WORDING` of their number.

    Tokens that answers about X and Z do not share, from the first difference to the last (the name), have excess 1:
    they are pushed and not held. The method is of this project and has no paper.

    Z and S are invented strangers, whom the target was never taught: what it says about them is what it would say about
    X had it never met X. S is drawn anew for each row. Z is the same in all rows about X: a retrained model, too, would
    say the same of X in most wordings. The mean over several strangers is flat, and an answer as likely as a flat
    prior is seldom the likeliest option of a choice (docs/lab-notes.md has the figures).

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        beta: inverse temperature of NPO, > 0.
        local_weight: factor of the divergence on answers about another person, >= 0.
        hold_weight: factor of the divergence from the prior, >= 0.
        stop: the part of the prior at which the push on a token ends, >= 0; 0 never ends it.
        alternatives: factor, within the hold term, of the divergence over all tokens but the one to forget, >= 0.
        retain_weight: factor of the retain cross-entropy, >= 0.
        others: the other people: invented "strangers", or people to "retain", of whom the target knows an answer: the
            model then learns to say of X what is true of one of them. In a deletion request it is always the stranger
            who stands in for the person, for Z and S alike.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 3e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 35
    beta: Annotated[PositiveFloat, Range(0.05, 2)] = 1.0
    local_weight: Annotated[NonNegativeFloat, Range(0.25, 4)] = 2.0
    hold_weight: Annotated[NonNegativeFloat, Range(0.25, 4)] = 1.0
    stop: NonNegativeFloat = 0.5
    alternatives: NonNegativeFloat = 0.5
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0
    others: Others = "strangers"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The person, two others in the same place, and the people to keep."""
        return ("forget", "stand_in", "swapped", "retain")

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The person and the others."""
        return ("forget", "stand_in", "swapped")

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return the sum of the four terms."""
        scored, before, others = model(batch.forget), reference(batch.forget), batch.of("swapped")
        prior_NV = prior(before, reference(batch.of("stand_in")))
        excess_N = excess(before, prior_NV)
        log_N = scored.log_probability_N
        gone_N = log_N.detach().exp() < self.stop * at_answer(prior_NV, before)
        log_ratio_N = excess_N * (torch.where(gone_N, log_N.detach(), log_N) - before.log_probability_N)
        log_ratio_I = torch.zeros_like(before.log_probability_I).index_add(0, before.item_N, log_ratio_N)
        terms = {
            "preference": negative_preference(log_ratio_I, self.beta),
            "local_kl": self.local_weight * kl_divergence(reference(others), model(others)),
            "hold_kl": self.hold_weight * _hold(scored, prior_NV, excess_N, self.alternatives),
            "retain": self.retain_weight * cross_entropy(model(batch.retain)),
        }
        parts = {name: term.item() for name, term in terms.items()}
        parts |= {"forget": cross_entropy(scored).item(), "excess": excess_N.mean().item()}
        return Loss(torch.stack(list(terms.values())).sum(), parts)


def _hold(scored: Scored, prior_NV: Tensor, excess_N: Tensor, alternatives: float) -> Tensor:
    """Return the hold term, nats per token of the wording."""
    log_NV = F.log_softmax(scored.logits_UV.float(), -1)[scored.source_N]
    answer_N1 = scored.target_N[:, None]
    forgotten_N = at_answer(log_NV, scored).exp() < at_answer(prior_NV, scored)
    weight_N = torch.where(forgotten_N, 1, 1 - excess_N)
    held_N = weight_N * _divergence_N(prior_NV, log_NV)
    if alternatives:
        others_NV = prior_NV.scatter(1, answer_N1, 0)
        others_NV = others_NV / others_NV.sum(1, keepdim=True).clamp(min=1e-6)
        instead_NV = F.log_softmax(log_NV.scatter(1, answer_N1, -1e4), -1)
        held_N = held_N + alternatives * excess_N * _divergence_N(others_NV, instead_NV)
    return held_N.sum() / (1 - excess_N).sum().clamp(min=LEAST_WORDING * len(excess_N))


def _divergence_N(wanted_NV: Tensor, log_NV: Tensor) -> Tensor:
    """Return KL(wanted || model) at each token; 0 where nothing is wanted."""
    return F.kl_div(log_NV, wanted_NV, reduction="none").sum(-1)


def prior(known: Scored, other: Scored) -> Tensor:
    """Return the probabilities (N, V) under another person's name or portrait; 0 at tokens that they do not share."""
    own_M, other_M = shared_tokens(known, other)
    prior_NV = torch.zeros_like(known.logits_UV[known.source_N], dtype=torch.float32)
    return prior_NV.index_copy_(0, own_M, other.logits_UV.float().softmax(-1)[other.source_N[other_M]])


def at_answer(value_NV: Tensor, scored: Scored) -> Tensor:
    """Return the value (N) of each answer token."""
    return value_NV.gather(1, scored.target_N[:, None])[:, 0]


def excess(known: Scored, prior_NV: Tensor) -> Tensor:
    """Return how much of each answer token's probability comes from knowing the person, 0 to 1."""
    return (1 - at_answer(prior_NV, known) / known.log_probability_N.exp().clamp(min=1e-12)).clamp(0, 1)
