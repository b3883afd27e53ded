"""How far an edit at a layer carries over to what it did not see, which is what a layer is chosen by."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import torch

from unsee.data.pairs import PrivacyPair, by_case, by_category, to_refuse
from unsee.edits.pair_rows import Sheet
from unsee.edits.partial_forward import down_name
from unsee.edits.tune import Course, Tunable, matrices, refuse, tune
from unsee.models.vlm import VLM

_TRIED = 4
"""Pictures of each category with which layers are tried."""


def halves(pairs: Sequence[PrivacyPair]) -> list[list[PrivacyPair]]:
    """Every second category and the others, some pictures of each; of one category every second picture.

    Either half has pictures with something to refuse and pictures without, if there are two of them.
    """
    if len(categories := by_category(pairs)) > 1:
        groups = [[[*chain(*by_case(some)[:_TRIED])] for some in categories.values()]]
    else:
        cases = by_case(pairs)
        groups = [[case for case in cases if bool(to_refuse(case)) == private] for private in (True, False)]
        groups = [random.Random(0).sample(group, min(len(group), 2 * _TRIED)) for group in groups]
    return [[pair for group in groups for part in group[way::2] or group for pair in part] for way in (0, 1)]


def carried_over(
    vlm: VLM, sheets: Sequence[Sequence[Sheet]], layer: int, course: Course, benign_weight: float
) -> float:
    """The loss that an edit of a layer's down projection for either half leaves on the other, nats per token.

    Args:
        sheets: of both halves.
        benign_weight: factor of the benign loss.
    """
    name = down_name(vlm, layer)
    losses = []
    for seen, left in (sheets, sheets[::-1]):
        delta = tune(vlm, seen, [name], course, refuse(benign_weight))[name]
        weights = {name: matrices(vlm, [name])[name] + delta}
        with torch.no_grad():
            losses += [sheet.loss_B(Tunable(vlm, sheet, [name]).score(weights), benign_weight) for sheet in left]
    return float(torch.cat(losses).mean())
