"""Losses of unlearning as pure functions of scored answers.

Shape letters: U distinct places that predict something, N scored tokens, I answers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Scored:
    """What a model says about the answers of one batch.

    What answers share predicts for each of them but is there once.

    Attributes:
        logits_UV: what each place predicts.
        source_N: the place that predicts each answer token.
        target_N: the answer tokens.
        item_N: which answer each token belongs to.
        num_items: number of answers I.
    """

    logits_UV: Tensor
    source_N: Tensor
    target_N: Tensor
    item_N: Tensor
    num_items: int

    @property
    def log_probability_N(self) -> Tensor:
        """Log-probability of each answer token, nats."""
        return F.log_softmax(self.logits_UV.float(), -1)[self.source_N, self.target_N]

    @property
    def log_probability_I(self) -> Tensor:
        """Log-probability of each whole answer, summed over its tokens, nats."""
        return torch.zeros(self.num_items, device=self.item_N.device).index_add(0, self.item_N, self.log_probability_N)

    @property
    def length_I(self) -> Tensor:
        """Tokens per answer."""
        return torch.bincount(self.item_N, minlength=self.num_items)

    def only(self, kept_N: Tensor) -> Scored:
        """Some of the tokens, and the places that predict them."""
        kept_U, source_N = self.source_N[kept_N].unique(return_inverse=True)
        return Scored(self.logits_UV[kept_U], source_N, self.target_N[kept_N], self.item_N[kept_N], self.num_items)


def cross_entropy(scored: Scored) -> Tensor:
    """Mean negative log-probability per answer token, nats; 0 is certainty."""
    return -scored.log_probability_N.mean()


def negative_preference(log_ratio_I: Tensor, beta: float) -> Tensor:
    """NPO: `-(2 / beta) E log sigmoid(-beta log(p / p_reference))`; 2 ln 2 / beta at the reference, 0 when forgotten.

    Args:
        log_ratio_I: log of the answer's probability over its probability under the reference, nats.
        beta: inverse temperature, > 0; towards 0 the gradient is that of gradient ascent.

    Source: Zhang et al. 2024, arXiv:2404.05868, Eq. 3.
    """
    return -(2 / beta) * F.logsigmoid(-beta * log_ratio_I).mean()


def kl_divergence(reference: Scored, scored: Scored) -> Tensor:
    """Mean KL(reference || model) per answer token of the same batch, nats; 0 where they agree."""
    wanted_UV = F.log_softmax(reference.logits_UV.float(), -1)
    current_UV = F.log_softmax(scored.logits_UV.float(), -1)
    divergence_U = F.kl_div(current_UV, wanted_UV, reduction="none", log_target=True).sum(-1)
    return divergence_U[scored.source_N].mean()
