"""Requests one after another: what is forgotten now, what stays forgotten, what comes back, and what it costs.

With s(j, k) the efficacy on group j after request k, read against the oracle that was never taught groups 1 to k:

    now(k) = s(k, k)                    past(k) = min over j < k of s(j, k)
    rebound(k) = max over j < k of max(0, max over j <= i < k of s(j, i) - s(j, k))

and the score over all groups so far. docs/scores.md explains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from unsee.scoring.intervals import Draws, Estimate, estimate
from unsee.scoring.people import FORGETTING_SETS, Parts, ScoredRun
from unsee.scoring.schema import AfterRequest


class Chain(NamedTuple):
    """The models of one method after each request.

    Attributes:
        method: the method, whose own row is that of all groups at once.
        modality: the questions it unlearns from.
        models: their names, the first request first.
    """

    method: str
    modality: str
    models: tuple[str, ...]


def after_requests(
    answers: pd.DataFrame, groups: Sequence[Sequence[str]], oracles: Sequence[str], chains: Sequence[Chain],
    num_resamples: int = 1000,
) -> list[AfterRequest]:  # fmt: skip
    """Return the state of every chain after every request.

    Args:
        answers: of the target, the oracles, the methods and the models of the chains.
        groups: the people of each request.
        oracles: for each request the oracle that was never taught the groups so far.
        chains: the models.
        num_resamples: resamples of the people.
    """
    found = []
    for chain in chains:
        known: dict[tuple[int, int], Draws] = {}
        for k, model in enumerate(chain.models):
            for j, group in enumerate(groups[: k + 1]):
                parts = _parts(answers, model, chain.modality, oracles[k], group, num_resamples)
                if parts.efficacy is not None:
                    known[j, k] = parts.efficacy
            so_far = [person for group in groups[: k + 1] for person in group]
            whole = _parts(answers, model, chain.modality, oracles[k], so_far, num_resamples)
            at_once = None
            if k + 1 == len(groups):
                at_once = _parts(answers, chain.method, chain.modality, oracles[k], so_far, num_resamples).score
            found.append(
                AfterRequest(
                    method=chain.method, modality=chain.modality, request=k + 1, people=len(so_far),
                    now=_estimate(known.get((k, k))), past=_past(known, k), rebound=_rebound(known, k),
                    utility=_estimate(whole.utility), score=_estimate(whole.score), at_once=_estimate(at_once),
                    verdict=whole.verdict,
                )
            )  # fmt: skip
    return found


def _parts(
    answers: pd.DataFrame, model: str, modality: str, oracle: str, people: Sequence[str], num_resamples: int
) -> Parts:
    """Return the numbers of one model about some of the people to forget."""
    is_model = (answers["method"] == model) & (answers["modality"] == modality)
    first = answers.loc[is_model, "seed"].iloc[0]
    chosen = answers["method"].isin(["target", oracle]) | (is_model & (answers["seed"] == first))
    elsewhere = answers["set"].isin(FORGETTING_SETS) & ~answers["unit"].isin(list(people))
    own = answers[chosen & ~elsewhere]
    own = own.assign(method=own["method"].replace(oracle, "oracle"))
    (parts,) = ScoredRun(own, num_resamples).trainings[model, modality].values()
    return parts


def _past(known: dict[tuple[int, int], Draws], k: int) -> Estimate | None:
    earlier = [known[j, k] for j in range(k) if (j, k) in known]
    return estimate(np.min(np.stack(earlier), axis=0)) if earlier else None


def _rebound(known: dict[tuple[int, int], Draws], k: int) -> Estimate | None:
    losses = [
        np.max(np.stack([known[j, i] for i in range(j, k) if (j, i) in known]), axis=0) - known[j, k]
        for j in range(k)
        if (j, k) in known and any((j, i) in known for i in range(j, k))
    ]
    return estimate(np.maximum(0, np.max(np.stack(losses), axis=0))) if losses else None


def _estimate(draws: Draws | None) -> Estimate | None:
    return None if draws is None else estimate(draws)
