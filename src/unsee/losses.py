"""Losses of unlearning as pure functions of scored answers.

Shape letters: N scored tokens, I answers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Scored:
    """What a model says about the answers of one batch.

    Attributes:
        logits_NV: logits that predict each answer token.
        target_N: the answer tokens.
        item_N: which answer each token belongs to.
        num_items: number of answers I.
    """

    logits_NV: Tensor
    target_N: Tensor
    item_N: Tensor
    num_items: int

    @property
    def log_probability_N(self) -> Tensor:
        """Log-probability of each answer token, nats."""
        return -F.cross_entropy(self.logits_NV.float(), self.target_N, reduction="none")

    @property
    def log_probability_I(self) -> Tensor:
        """Log-probability of each whole answer, summed over its tokens, nats."""
        return torch.zeros(self.num_items, device=self.item_N.device).index_add(0, self.item_N, self.log_probability_N)

    @property
    def length_I(self) -> Tensor:
        """Tokens per answer."""
        return torch.bincount(self.item_N, minlength=self.num_items)


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


def kl_divergence(reference_NV: Tensor, logits_NV: Tensor) -> Tensor:
    """Mean KL(reference || model) per answer token, nats; 0 where they agree."""
    reference = F.log_softmax(reference_NV.float(), -1)
    current = F.log_softmax(logits_NV.float(), -1)
    return F.kl_div(current, reference, reduction="none", log_target=True).sum(-1).mean()
