"""Signal and scores of a run about people, from its answers; docs/scores.md explains them.

Efficacy and generality measure how far a method moved from the target to the oracle; utility measures how much it kept.
`scoring.documents` computes the scores of a run about documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from unsee.core.errors import RecordError
from unsee.core.record import ANSWER_COLUMNS, MIN_UNITS, Better, metric_columns
from unsee.scoring.collapse import lexicon, why_collapsed
from unsee.scoring.intervals import Bootstrap, Draws, Estimate, estimate, mean_of_defined
from unsee.scoring.refused_and_leaked import refused_and_leaked
from unsee.scoring.schema import (
    Cell,
    CellName,
    ChangeAndCost,
    MethodScore,
    MethodVerdict,
    Scores,
    Signal,
    SignalCell,
)

HEADLINE = {"classification": "accuracy", "generation": "rouge_l", "cloze": "accuracy"}
FORGETTING_SETS = ("forget", "test")

_MODEL = ["method", "modality", "seed"]
_CELL = ["set", "task", "input"]

Model = tuple[str, str]  # method, modality
CellDraws = dict[CellName, Draws]


def find_signal(answers: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> Signal:
    """Compare target and oracle in every cell of the forget and the test set.

    Args:
        answers: rows of at least target and oracle.
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap.

    Raises:
        RecordError: a column, the target or the oracle is missing.
    """
    _check(answers)
    pair = answers[answers["method"].isin(["target", "oracle"])]
    return _signal(headline_draws(Bootstrap(pair, num_resamples, seed)), pair)


def score(
    answers: pd.DataFrame, num_resamples: int = 1000, seed: int = 0,
    changes: Mapping[Model, ChangeAndCost] | None = None, better: Mapping[str, Better] | None = None,
) -> Scores:  # fmt: skip
    """Compute every cell and the scores of every method in a table of answers.

    Args:
        answers: rows of target, oracle and methods.
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap.
        changes: weight change and cost of each method.
        better: the direction of each metric.

    Raises:
        RecordError: a column, the target or the oracle is missing, a method has answers of two seeds, or its questions
            are not those of the target.
    """
    _check(answers)
    bootstrap = Bootstrap(answers, num_resamples, seed)
    draws = headline_draws(bootstrap)
    signal = _signal(draws, answers)
    useful = _useful(_of(draws, "target"), answers)
    known = lexicon(answers)
    models = {
        (str(method), str(modality)): rows
        for (method, modality), rows in bootstrap.answers.groupby(_MODEL[:2], sort=False)
    }
    target = next(rows for (method, _), rows in models.items() if method == "target")
    methods = []
    for (method, modality), rows in models.items():
        parts = _parts(draws, (method, modality), signal, useful)
        reason = why_collapsed(rows, target, known, bootstrap)
        told, moved = refused_and_leaked(bootstrap, rows), (changes or {}).get((method, modality))
        methods.append(_method_score((method, modality), parts, signal.signal, reason, told, moved))
    return Scores(
        kind="people", reason=signal.reason, better=dict(better or {}), cells=_cells(bootstrap), methods=methods
    )


def cells(answers: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> list[Cell]:
    """Return every metric with a value, for every model and cell; models are not compared.

    Raises:
        RecordError: a column is missing.
    """
    _check_columns(answers)
    return _cells(Bootstrap(answers, num_resamples, seed))


def skill(method: Draws, target: Draws, oracle: Draws) -> Draws:
    """Return how far a method moved: 0 at the target or on its other side, 1 at the oracle, less again beyond it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(method - oracle) / np.abs(target - oracle)
    return np.where(target == oracle, np.nan, np.clip(1 - ratio, 0, 1))


def harmonic_mean(parts: Sequence[Draws]) -> Draws:
    """Return the harmonic mean per resample; 0 if a part is 0."""
    stacked = np.stack(parts)
    with np.errstate(divide="ignore"):
        return np.asarray(len(parts) / (1 / stacked).sum(axis=0), dtype=np.float64)


def _check_columns(answers: pd.DataFrame) -> None:
    needed = dict.fromkeys((*ANSWER_COLUMNS, *HEADLINE.values()))
    if missing := [column for column in needed if column not in answers.columns]:
        raise RecordError(f"answers: no column {', '.join(missing)}; expected {', '.join(needed)}")


def _check(answers: pd.DataFrame) -> None:
    _check_columns(answers)
    methods = sorted(set(answers["method"]))
    for needed in ("target", "oracle"):
        if needed not in methods:
            raise RecordError(f"answers: no rows of '{needed}', which every score needs (found: {', '.join(methods)})")
    models = answers.groupby(_MODEL[:2])
    seeds = models["seed"].nunique()
    if (seeds > 1).any():
        raise RecordError(f"answers: {seeds.idxmax()} has answers of several seeds; a run holds one seed per method")
    asked = {model: frozenset(items) for model, items in models["item"]}
    target = next(items for (method, _), items in asked.items() if method == "target")
    for model, items in asked.items():
        if items != target:
            raise RecordError(f"answers: {model} and the target answered different questions; scores compare the same")


def headline_draws(bootstrap: Bootstrap) -> dict[Model, CellDraws]:
    """Return the draws of the headline metric of every cell, by model (method, modality) and cell."""
    answers = bootstrap.answers
    headline = answers["rouge_l"].where(answers["task"] == "generation", answers["accuracy"])
    draws: dict[Model, CellDraws] = {}
    for key, values in bootstrap.means(answers.assign(headline=headline), "headline", by=_MODEL[:2] + _CELL).items():
        method, modality, *cell = map(str, key)
        draws.setdefault((method, modality), {})[CellName(*cell)] = values
    return draws


def _of(draws: dict[Model, CellDraws], method: str) -> CellDraws:
    return next(cells for (name, _), cells in draws.items() if name == method)


def _signal(draws: dict[Model, CellDraws], answers: pd.DataFrame) -> Signal:
    target, oracle = _of(draws, "target"), _of(draws, "oracle")
    num_units = answers.groupby("set")["unit"].nunique()
    floors = answers.groupby(_CELL)[["chance", "floor"]].mean()
    cells = []
    for name in sorted(name for name in target if name.set in FORGETTING_SETS):
        known, retrained, gap = (estimate(d) for d in (target[name], oracle[name], target[name] - oracle[name]))
        if known is None or retrained is None or gap is None:
            continue
        cells.append(
            SignalCell(
                **name._asdict(),
                metric=HEADLINE[name.task],
                target=known,
                oracle=retrained,
                difference=gap,
                n_units=int(num_units[name.set]),
                chance=_known(floors.loc[name, "chance"]),
                floor=_known(floors.loc[name, "floor"]),
                signal=gap.low > 0 and int(num_units[name.set]) >= MIN_UNITS,
            )
        )
    return Signal(signal=any(cell.signal for cell in cells if cell.set == "forget"), cells=cells)


def _parts(
    draws: dict[Model, CellDraws], model: Model, found: Signal, useful: Sequence[CellName]
) -> list[Draws | None]:
    """Return efficacy, generality and utility of one model."""
    own, target, oracle = draws[model], _of(draws, "target"), _of(draws, "oracle")
    parts = [[skill(own[c], target[c], oracle[c]) for c in found.names(name)] for name in FORGETTING_SETS]
    with np.errstate(invalid="ignore", divide="ignore"):
        parts.append([np.minimum(own[c] / target[c], 1) for c in useful])
    return [_mean_of_cells(cells) for cells in parts]


def _useful(target: CellDraws, answers: pd.DataFrame) -> list[CellName]:
    """Return the utility cells in which the target is better than chance; only these can lose anything."""
    chance = answers.groupby(_CELL)["chance"].mean().fillna(0.0)
    found = {name: estimate(draws) for name, draws in target.items() if name.set not in FORGETTING_SETS}
    return [name for name, value in found.items() if value is not None and value.low > chance[name]]


def _mean_of_cells(cells: list[Draws]) -> Draws | None:
    """Return the mean per resample over the cells defined in it; None if no cell is defined on the sample."""
    cells = [cell for cell in cells if not np.isnan(cell[0])]
    return mean_of_defined(cells) if cells else None


def _method_score(
    model: Model, parts: list[Draws | None], signal: bool, reason: str | None,
    told: tuple[Estimate | None, Estimate | None], moved: ChangeAndCost | None,
) -> MethodScore:  # fmt: skip
    efficacy, generality, utility = (None if part is None else estimate(part) for part in parts)
    defined = [part for part in parts if part is not None]
    if not signal or len(defined) < len(parts):
        verdict: MethodVerdict = "no signal"
        total = None
    elif reason:
        verdict, total = "collapsed", Estimate(value=0.0, low=0.0, high=0.0)
    else:
        verdict, total = "ok", estimate(harmonic_mean(defined))
    return MethodScore(
        method=model[0], modality=model[1], efficacy=efficacy, generality=generality, utility=utility, score=total,
        verdict=verdict, reason=reason, refused=told[0], leaked=told[1], **(moved._asdict() if moved else {}),
    )  # fmt: skip


def _cells(bootstrap: Bootstrap) -> list[Cell]:
    answers, by = bootstrap.answers, _MODEL + _CELL
    counts = answers.groupby(by).agg(
        n_units=("unit", "nunique"), n_items=("item", "size"), chance=("chance", "mean"), floor=("floor", "mean"),
        valid=("valid", "mean"),
    )  # fmt: skip
    cells = []
    for metric in metric_columns(answers):
        for key, draws in bootstrap.means(answers, metric, by).items():
            if (interval := estimate(draws)) is None:
                continue
            count = counts.loc[key]
            is_headline = metric == HEADLINE[str(key[4])]
            cells.append(
                Cell.model_validate(
                    dict(zip(by, key, strict=True))
                    | interval.model_dump()
                    | {
                        "metric": metric,
                        "n_units": int(count["n_units"]),
                        "n_items": int(count["n_items"]),
                        "chance": _known(count["chance"]) if is_headline else None,
                        "floor": _known(count["floor"]) if metric == "rouge_l" else None,
                        "invalid": 1 - float(count["valid"]),
                    }
                )
            )
    return cells


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
