"""Whether a model of an audit still finds the rows likelier about their people than about strangers: membership.

Strangers are made from the file itself. Each is asked what a row asks, with a name and a photo of their own, and the
true answer of the row is scored: the same words after the same question, about somebody who was never taught them. So
neither the style of a row nor how easily its answer is guessed tells them apart. With the mean loss of an answer over
all ways in which its row is asked plainly, the signal of membership is

    strangers: the mean loss over the (other) strangers minus the loss (calibrated by difficulty; Watson et al. 2022)
    oracle: the loss of the oracle minus the loss

What is left are the people themselves: a name or a face may make an answer likely to any model, which only an oracle
shows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from unsee.core.record import MIN_UNITS, STRANGER_SET
from unsee.scoring.chance import DOUBT, LEVEL
from unsee.scoring.findings import AFTER, BEFORE, ORACLE, Membership, MembershipFound, Verdict
from unsee.scoring.intervals import Bootstrap, estimate
from unsee.scoring.memorisation import FALSE_POSITIVES, Curve

_WHO = ["set", "unit", "row"]
_EXCHANGES = 2000
_EQUAL = 1e-12


def membership_of(answers: pd.DataFrame, num_resamples: int, seed: int = 0) -> Membership | None:
    """Return what likelihoods tell about the rows; None if no row can be compared with strangers.

    Args:
        answers: plain answers about rows to forget ("forget" and "test") and strangers, with the columns `method` (the
            model), `set`, `item`, `row`, and `probability`, the geometric mean over the tokens of the true answer; no
            row whose true answer says the name.
        num_resamples: resamples of people, and of strangers.
        seed: of the resamples.
    """
    losses = _losses(answers)
    people = losses.loc[losses["set"] == "forget", "unit"].nunique()
    if losses.empty or set(losses["set"]) != {"forget", STRANGER_SET}:
        return None
    bootstrap = Bootstrap(losses, num_resamples if people >= MIN_UNITS else 0, seed)
    models = [model for model in (BEFORE, AFTER, ORACLE) if model in losses]
    found = []
    for model in models:
        signals = {"strangers": _beside_strangers(bootstrap.answers, model)}
        if ORACLE in models:
            signals["oracle"] = (bootstrap.answers[ORACLE] - bootstrap.answers[model]).to_numpy(dtype=np.float64)
        for signal, values in signals.items():
            curve = Curve(bootstrap, values)
            area, rate = estimate(curve.area), estimate(curve.found(FALSE_POSITIVES))
            if area and rate:
                found.append(MembershipFound(model=model, signal=signal, area=area, found=rate))
    rows = losses.loc[losses["set"] == "forget", "row"].nunique()
    told = Membership(verdict=_verdict(losses, models), people=people, rows=rows, found=found)
    return told.model_copy(update={"verdict": "cannot be told"}) if told.is_weak else told


def _losses(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the mean loss of each row about its person and about each stranger, with a column for each model."""
    is_strange = answers["set"] == STRANGER_SET
    who = answers["item"].str.split("/").str[1]
    table = answers.assign(
        set=answers["set"].where(is_strange, "forget"), unit=who.where(is_strange, answers["row"].str[:3]),
        loss=-np.log(answers["probability"].clip(lower=np.finfo(float).tiny)),
    )  # fmt: skip
    losses = table.pivot_table(index=_WHO, columns="method", values="loss", aggfunc="mean").dropna().reset_index()
    about = losses.groupby("row")["set"].nunique()
    return losses[losses["row"].map(about) == 2].reset_index(drop=True)


def _beside_strangers(losses: pd.DataFrame, model: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return how much likelier each answer is than about the mean stranger, who is never the one it is about."""
    strange = losses["set"] == STRANGER_SET
    others = losses[strange].groupby("row")[model].agg(["sum", "size"]).reindex(losses["row"])
    own = losses[model].to_numpy(dtype=np.float64)
    counted = np.where(strange, own, 0.0)
    size = others["size"].to_numpy() - strange.to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (others["sum"].to_numpy() - counted) / size
    return np.asarray(np.where(size > 0, mean - own, 0.0), dtype=np.float64)


def _verdict(losses: pd.DataFrame, models: Sequence[str]) -> Verdict:
    """Return the verdict on the audited model: beside the oracle if there is one, and never "recovered" without it."""
    if ORACLE in models:
        probability = chance_of(losses, losses[AFTER] - losses[ORACLE])
        return "recovered" if probability < LEVEL else "cannot be told" if probability < DOUBT else "not recovered"
    return "cannot be told" if chance_of(losses, losses[AFTER]) < DOUBT else "not recovered"


def chance_of(losses: pd.DataFrame, values: pd.Series) -> float:
    """Return the probability that values about people are as low as these if each might be any of their strangers.

    For a model that knows nothing, the person is one of 21 about whom the same answers are scored. So each person is
    exchanged for one of the 21 at random, all rows together, and the mean over people is compared: a permutation test,
    which needs no interval and says nothing of one person alone (1 in 21 at best).

    Args:
        losses: with the columns set, unit and row.
        values: of each row of it: low where the answer is likely.
    """
    table = losses.assign(value=values, person=losses["row"].str[:3])
    table["who"] = table["unit"].where(table["set"] == STRANGER_SET, "")
    means = table.pivot_table(index="person", columns="who", values="value", aggfunc="mean")
    own = float(means[""].mean())
    of_people = [row[~np.isnan(row)] for row in means.to_numpy()]
    if math.prod(map(len, of_people)) <= _EXCHANGES:  # all of them
        exchanged = functools.reduce(lambda some, more: np.add.outer(some, more).ravel(), of_people) / len(of_people)
        return float(np.mean(exchanged <= own + _EQUAL))
    rng = np.random.default_rng(0)
    exchanged = np.mean([row[rng.integers(len(row), size=_EXCHANGES)] for row in of_people], axis=0)
    return (1 + int((exchanged <= own + _EQUAL).sum())) / (1 + _EXCHANGES)
