"""Greedy answers in batches: everything before the questions is computed once and forked to all of them.

Shape letters: G groups (one shared beginning each), R rows (one question each), T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from transformers import DynamicCache

from unsee.collate import shared_length
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class Group:
    """Questions that share a beginning, and the image in it (C, H, W) if there is one."""

    prefix: list[int]
    suffixes: list[list[int]]
    pixels: Tensor | None = None

    @classmethod
    def of(cls, prompts: Sequence[list[int]], pixels: Tensor | None = None) -> Group:
        """The group of whole prompts that begin alike."""
        cut = shared_length(prompts)
        return cls(prompts[0][:cut], [prompt[cut:] for prompt in prompts], pixels)


@torch.no_grad()
def generate(vlm: VLM, groups: Sequence[Group], *, max_new_tokens: int, batch_size: int = 64) -> list[list[list[int]]]:
    """The likeliest token after the likeliest token, until the end token or `max_new_tokens`.

    Args:
        groups: in any order; those with an equally long beginning are answered together.
        batch_size: questions answered at once, at least one group.

    Returns:
        For each group, for each question, the answer's tokens without the end token.
    """
    order = sorted(range(len(groups)), key=lambda i: (len(groups[i].prefix), groups[i].pixels is None))
    answers: dict[int, list[list[int]]] = {}
    for _, alike in groupby(order, key=lambda i: (len(groups[i].prefix), groups[i].pixels is None)):
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
    device = vlm.device
    cache = DynamicCache(config=vlm.model.config.get_text_config())
    owner = torch.tensor([g for g, group in enumerate(groups) for _ in group.suffixes], device=device)
    length = len(groups[0].prefix)
    if length:
        inputs = {"input_ids": torch.tensor([group.prefix for group in groups], device=device)}
        pixels = [group.pixels for group in groups if group.pixels is not None]
        if pixels:
            inputs["pixel_values"] = torch.stack(pixels).to(device, vlm.model.dtype)
        vlm.model.model(**inputs, past_key_values=cache, use_cache=True)
        cache.batch_select_indices(owner)
    suffixes = [suffix for group in groups for suffix in group.suffixes]
    width = max(map(len, suffixes))
    ids_RT = torch.tensor([[0] * (width - len(row)) + row for row in suffixes], device=device)
    real_RT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in suffixes], device=device)
    mask_RT = torch.cat([real_RT.new_ones(len(suffixes), length), real_RT], 1)
    positions_RT = length + (real_RT.cumsum(1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in suffixes]
    alive = torch.arange(len(suffixes), device=device)
    for _ in range(max_new_tokens):
        hidden = vlm.model.model(
            input_ids=ids_RT, attention_mask=mask_RT, position_ids=positions_RT, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        token_R = vlm.head()(hidden).argmax(-1)
        going_R = token_R != vlm.end_token
        for row, token in zip(alive[going_R].tolist(), token_R[going_R].tolist(), strict=True):
            written[row].append(token)
        if not going_R.any():
            break
        if not going_R.all():
            cache.batch_select_indices(going_R.nonzero()[:, 0])
        alive, ids_RT = alive[going_R], token_R[going_R, None]
        mask_RT = torch.cat([mask_RT[going_R], mask_RT.new_ones(len(alive), 1)], 1)
        positions_RT = positions_RT[going_R, -1:] + 1
    return written
