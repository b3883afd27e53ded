"""Losses of unlearning as pure functions of scored answers.

Shape letters: U distinct positions that predict something, N scored tokens, I answers, V vocabulary, D hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

PIECE = 2**24
"""The largest number of logits that are normalised at once; more are worked on piece by piece, to the same numbers.

nano has a vocabulary of 2,048 and never reaches it. With one of 50,000, an exam would need gigabytes at once.
"""


@dataclass(frozen=True)
class Scored:
    """The scores of the answers of one batch.

    A position that predicts tokens of several answers is stored once, and each of them refers to it.

    Attributes:
        logits_UV: the logits of each position that predicts an answer token.
        source_N: the index of the position that predicts each answer token.
        target_N: the answer tokens.
        item_N: the number of the answer each token belongs to.
        num_items: number of answers I.
        hidden: the outputs of decoder layers at the same positions (U, D), by layer; `state_ND` gives them by token.
        whole_M: the index of each position of each answer's text, padding included; None unless a method's
            `whole_sides` asks for it. `logits_UV` then holds positions that predict no answer token too.
    """

    logits_UV: Tensor
    source_N: Tensor
    target_N: Tensor
    item_N: Tensor
    num_items: int
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    whole_M: Tensor | None = None

    def state_ND(self, layer: int) -> Tensor:
        """Return the output of a decoder layer at the position that predicts each answer token, (N, D)."""
        return self.hidden[layer][self.source_N]

    @property
    def log_probability_N(self) -> Tensor:
        """Log-probability of each answer token, nats."""
        if self.logits_UV.numel() <= PIECE:
            return F.log_softmax(self.logits_UV.float(), -1)[self.source_N, self.target_N]
        found_N: Tensor = _InPieces.apply(self.logits_UV, self.source_N, self.target_N)  # type: ignore[no-untyped-call]
        return found_N

    @property
    def log_probability_I(self) -> Tensor:
        """Log-probability of each whole answer, summed over its tokens, nats."""
        return torch.zeros(self.num_items, device=self.item_N.device).index_add(0, self.item_N, self.log_probability_N)

    @property
    def length_I(self) -> Tensor:
        """Number of tokens of each answer."""
        return torch.bincount(self.item_N, minlength=self.num_items)

    def only(self, kept_N: Tensor) -> Scored:
        """Return the scores of the tokens with these indices, with only the positions that predict them."""
        kept_U, source_N = self.source_N[kept_N].unique(return_inverse=True)
        hidden = {layer: state_UD[kept_U] for layer, state_UD in self.hidden.items()}
        logits_UV, target_N, item_N = self.logits_UV[kept_U], self.target_N[kept_N], self.item_N[kept_N]
        return Scored(logits_UV, source_N, target_N, item_N, self.num_items, hidden)


def pieces(states: Tensor, vocabulary: int) -> tuple[Tensor, ...]:
    """Split states or logits along their first axis, so that the logits of a part are at most `PIECE` numbers."""
    parts: tuple[Tensor, ...] = states.split(max(1, PIECE // vocabulary))
    return parts


class _InPieces(torch.autograd.Function):
    """Log-probabilities of answer tokens that keep one copy of the logits, not three, and one more for the gradient."""

    @staticmethod
    def forward(ctx: Any, logits_UV: Tensor, source_N: Tensor, target_N: Tensor) -> Tensor:
        """Return the log-probability of each token (N), float32."""
        parts = pieces(logits_UV, logits_UV.shape[1])
        total_U = torch.cat([part_PV.float().logsumexp(-1) for part_PV in parts])
        ctx.save_for_backward(logits_UV, total_U, source_N, target_N)
        return logits_UV[source_N, target_N].float() - total_U[source_N]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the logits."""
        logits_UV, total_U, source_N, target_N = ctx.saved_tensors
        weight_U = torch.zeros_like(total_U).index_add(0, source_N, gradient_N)
        found_UV = torch.empty_like(logits_UV)
        vocabulary = logits_UV.shape[1]
        columns = (pieces(one, vocabulary) for one in (found_UV, logits_UV, total_U, weight_U))
        for found_PV, part_PV, total_P, weight_P in zip(*columns, strict=True):
            found_PV.copy_((part_PV.float() - total_P[:, None]).exp_().mul_(-weight_P[:, None]))
        found_UV.index_put_((source_N, target_N), gradient_N.to(found_UV.dtype), accumulate=True)
        return found_UV, None, None


def cross_entropy(scored: Scored) -> Tensor:
    """Return the mean negative log-probability per answer token, nats; 0 is certainty."""
    return -scored.log_probability_N.mean()


def negative_preference(log_ratio_I: Tensor, beta: float) -> Tensor:
    """Return the NPO loss, `-(2 / beta) E log sigmoid(-beta log(p / p_reference))`.

    It is 2 ln 2 / beta at the reference and falls to 0 as the answers are forgotten.

    Args:
        log_ratio_I: log of the answer's probability over its probability under the reference, nats.
        beta: inverse temperature, > 0; towards 0 the gradient is that of gradient ascent.

    Source: Zhang et al. 2024, arXiv:2404.05868, Eq. 3.
    """
    return -(2 / beta) * F.logsigmoid(-beta * log_ratio_I).mean()


def kl_divergence(reference: Scored, scored: Scored, index_M: Tensor | None = None) -> Tensor:
    """Return the mean KL(reference || model) per answer token of the same batch, nats; 0 if they agree.

    Args:
        reference: the scores of the reference.
        scored: those of the model.
        index_M: the positions to average over; by default those that predict an answer token.
    """
    wanted_UV = F.log_softmax(reference.logits_UV.float(), -1)
    current_UV = F.log_softmax(scored.logits_UV.float(), -1)
    divergence_U = F.kl_div(current_UV, wanted_UV, reduction="none", log_target=True).sum(-1)
    return divergence_U[scored.source_N if index_M is None else index_M].mean()


def summed_divergence(
    reference: Scored, scored: Scored, reference_M: Tensor | None = None, scored_M: Tensor | None = None
) -> Tensor:
    """Return KL(reference || model) summed over each answer's tokens, as a mean over answers, nats; 0 if they agree.

    Args:
        reference: the scores of the reference, of these answers or of answers that share tokens with them.
        scored: those of the model.
        reference_M: the tokens of the reference to compare; by default all.
        scored_M: the tokens of the model that they are compared with, in the same order.
    """
    wanted, current = (
        F.log_softmax(one.logits_UV.float(), -1)[one.source_N if at is None else one.source_N[at]]
        for one, at in ((reference, reference_M), (scored, scored_M))
    )
    return F.kl_div(current, wanted, reduction="sum", log_target=True) / max(1, scored.num_items)


def shared_tokens(first: Scored, second: Scored) -> tuple[Tensor, Tensor]:
    """Return the tokens that two sets of answers share, as indices into the tokens of each.

    Answer i of one is compared with answer i of the other. Tokens are matched from the start of the answers up to the
    first difference, and from their end back to the last one. So the same answer about two people matches everywhere
    but in the name.

    Raises:
        ValueError: the two have different numbers of answers.
    """
    if first.num_items != second.num_items:
        raise ValueError(f"{first.num_items} answers cannot be matched with {second.num_items}")
    matched: tuple[list[int], list[int]] = [], []
    for item in range(first.num_items):
        places = [(scored.item_N == item).nonzero().flatten().tolist() for scored in (first, second)]
        one, other = ([int(scored.target_N[i]) for i in at] for scored, at in zip((first, second), places, strict=True))
        limit = min(len(one), len(other))
        start = next((i for i in range(limit) if one[i] != other[i]), limit)
        end = next((i for i in range(limit - start) if one[-1 - i] != other[-1 - i]), limit - start)
        for into, at in zip(matched, places, strict=True):
            into += at[:start] + at[len(at) - end :]
    device = first.target_N.device
    index_M, other_M = (torch.tensor(indices, dtype=torch.long, device=device) for indices in matched)
    return index_M, other_M
