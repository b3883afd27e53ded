"""Greedy answers in batches: everything before the questions is computed once and forked to all of them.

Shape letters: A axes of positions, G groups (one shared beginning each), R rows (one question each), T new tokens,
K all tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from transformers import DynamicCache

from unsee.collate import model_inputs, shared_length
from unsee.models.family import Picture
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class Group:
    """Questions that share a beginning, and the pictures in it."""

    prefix: list[int]
    suffixes: list[list[int]]
    pictures: tuple[Picture, ...] = ()

    @classmethod
    def of(cls, prompts: Sequence[list[int]], pictures: Sequence[Picture] = ()) -> Group:
        """The group of whole prompts that begin alike."""
        cut = shared_length(prompts)
        return cls(prompts[0][:cut], [prompt[cut:] for prompt in prompts], tuple(pictures))


@torch.no_grad()
def generate(vlm: VLM, groups: Sequence[Group], *, max_new_tokens: int, batch_size: int = 64) -> list[list[list[int]]]:
    """The likeliest token after the likeliest token, until the end token or `max_new_tokens`.

    Args:
        groups: in any order; those with an equally long beginning are answered together.
        batch_size: questions answered at once, at least one group.

    Returns:
        For each group, for each question, the answer's tokens without the end token.
    """
    order = sorted(range(len(groups)), key=lambda i: (len(groups[i].prefix), not groups[i].pictures))
    answers: dict[int, list[list[int]]] = {}
    for _, alike in groupby(order, key=lambda i: (len(groups[i].prefix), not groups[i].pictures)):
        waiting = list(alike)
        while waiting:
            taken = [waiting.pop(0)]
            while waiting and sum(len(groups[i].suffixes) for i in (*taken, waiting[0])) <= batch_size:
                taken.append(waiting.pop(0))
            rows = iter(_answer(vlm, [groups[i] for i in taken], max_new_tokens))
            for i in taken:
                answers[i] = [next(rows) for _ in groups[i].suffixes]
    return [answers[i] for i in range(len(groups))]


def _answer(vlm: VLM, groups: Sequence[Group], max_new_tokens: int) -> list[list[int]]:
    cache, ids_RK, positions_ARK = _read(vlm, groups)
    suffixes = [suffix for group in groups for suffix in group.suffixes]
    length, width = ids_RK.shape[1], max(map(len, suffixes))
    ids_RT = ids_RK.new_tensor([[vlm.pad_token] * (width - len(row)) + row for row in suffixes])
    real_RT = torch.tensor([[k >= width - len(row) for k in range(width)] for row in suffixes], device=vlm.device)
    next_R = positions_ARK.amax((0, 2)) + 1 if length else ids_RK.new_zeros(len(suffixes))
    positions_RT = next_R[:, None] + (real_RT.cumsum(1) - 1).clamp(min=0)
    real_RK = torch.cat([real_RT.new_ones(len(suffixes), length), real_RT], 1)
    before_TK = real_RT.new_ones(width, length + width).tril(length)
    itself_TK = before_TK ^ before_TK.tril(length - 1)  # padding sees itself: a row that sees nothing is not a number
    seen_RTK = before_TK & real_RK[:, None] | itself_TK
    written: list[list[int]] = [[] for _ in suffixes]
    alive = torch.arange(len(suffixes), device=vlm.device)
    ends = ids_RK.new_tensor(vlm.end_tokens)
    for _ in range(max_new_tokens):
        ids_RK = torch.cat([ids_RK, ids_RT], 1)
        positions_ARK = torch.cat([positions_ARK, positions_RT.expand(len(positions_ARK), -1, -1)], 2)
        inputs = model_inputs(vlm.family, ids_RK, positions_ARK, seen_RTK)
        hidden = vlm.model.model(**inputs, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
        token_R = vlm.head()(hidden).argmax(-1)
        going_R = ~torch.isin(token_R, ends)
        for row, token in zip(alive[going_R].tolist(), token_R[going_R].tolist(), strict=True):
            written[row].append(token)
        if not going_R.any():
            break
        if not going_R.all():
            cache.batch_select_indices(going_R.nonzero()[:, 0])
        alive, ids_RT = alive[going_R], token_R[going_R, None]
        ids_RK, positions_ARK = ids_RK[going_R], positions_ARK[:, going_R]
        positions_RT = positions_ARK[0, :, -1:] + 1
        seen_RTK = torch.cat([seen_RTK[going_R, -1:], seen_RTK.new_ones(len(alive), 1, 1)], 2)
    return written


def _read(vlm: VLM, groups: Sequence[Group]) -> tuple[DynamicCache, Tensor, Tensor]:
    """What the model makes of the beginnings, their tokens and positions (A, R, K), a row for every question."""
    device = vlm.device
    cache = DynamicCache()  # whole also for layers with a window: that is the mask's matter
    owner = torch.tensor([g for g, group in enumerate(groups) for _ in group.suffixes], device=device)
    ids_GK = torch.tensor([group.prefix for group in groups], dtype=torch.long, device=device)
    positions = [vlm.family.positions(group.prefix, group.pictures) for group in groups]
    positions_AGK = torch.stack(positions, 1).to(device)
    length = ids_GK.shape[1]
    if length:
        seen_GKK = torch.ones(length, length, dtype=torch.bool, device=device).tril().expand(len(groups), -1, -1)
        inputs = model_inputs(vlm.family, ids_GK, positions_AGK, seen_GKK)
        pictures = vlm.family.image_inputs([group.pictures for group in groups])
        inputs |= {name: tensor.to(device) for name, tensor in pictures.items()}
        vlm.model.model(**inputs, past_key_values=cache, use_cache=True)
        cache.batch_select_indices(owner)
    return cache, ids_GK[owner], positions_AGK[:, owner]
