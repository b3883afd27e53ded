"""Layer search: choose the layer whose edit generalises best to subjects it was not tuned on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import torch

from unsee.data.pairs import PrivacyPair, by_case, by_category, to_refuse
from unsee.edits.pair_rows import PairRows
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import Tunable, TuningPlan, refusal_objective, tune, weights_of
from unsee.models.vlm import VLM

_TRIED = 4
"""Pictures of each category that are used in the search."""


def candidate_layers(vlm: VLM) -> range:
    """Return the layers from a tenth to six tenths of the depth, without the last layer.

    Source: arXiv:2603.12598, Sec. 3.2.3.
    """
    depth = len(decoder_layers(vlm))
    return range(round(depth / 10), min(depth - 1, int(depth * 0.6)) + 1)


def split_in_halves(pairs: Sequence[PrivacyPair]) -> list[list[PrivacyPair]]:
    """Split the categories into two halves and take some pictures of each category; split one category by pictures.

    Of a single category each half has pictures with and without something to refuse, if there are two of either.
    """
    if len(categories := by_category(pairs)) > 1:
        groups = [[[*chain(*by_case(some)[:_TRIED])] for some in categories.values()]]
    else:
        cases = by_case(pairs)
        groups = [[case for case in cases if bool(to_refuse(case)) == private] for private in (True, False)]
        groups = [random.Random(0).sample(group, min(len(group), 2 * _TRIED)) for group in groups]
    return [[pair for group in groups for part in group[way::2] or group for pair in part] for way in (0, 1)]


def held_out_loss(
    vlm: VLM, halves: Sequence[Sequence[PairRows]], layer: int, plan: TuningPlan, benign_weight: float
) -> float:
    """Tune a layer's down projection on each half; return the mean loss on the other half, nats per token.

    Args:
        halves: the packed rows of both halves.
        benign_weight: factor of the benign loss.
    """
    name = down_name(vlm, layer)
    losses = []
    for tuned, held_out in (halves, halves[::-1]):
        delta = tune(vlm, tuned, [name], plan, refusal_objective(benign_weight))[name]
        weights = {name: weights_of(vlm, [name])[name] + delta}
        with torch.no_grad():
            losses += [rows.loss_B(Tunable(vlm, rows, [name]).score(weights), benign_weight) for rows in held_out]
    return float(torch.cat(losses).mean())
