"""Signal and scores of a run about people, from its answers; docs/scores.md explains them.

Efficacy and generality measure how far a method moved from the target to the oracle; utility measures how much it kept.
A method may be trained with several seeds, and several runs may be scored as one: then every number is a mean, and its
interval is over runs, trainings and people together. `scoring.documents` computes the scores of a run about documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from unsee.core.errors import RecordError
from unsee.core.record import MIN_UNITS, Better
from unsee.scoring.broken_answers import is_garbled
from unsee.scoring.cells import CELL, HEADLINE, MODEL, cells_of, check_columns, defined
from unsee.scoring.collapse import FREE_TEXT, lexicon, why_collapsed
from unsee.scoring.intervals import Bootstrap, Draws, Estimate, estimate, mean_of_defined, resampled_mean
from unsee.scoring.refused_and_leaked import refused_and_leaked
from unsee.scoring.schema import BASE, ChangeAndCost, Lost, MethodScore, MethodVerdict, Scores, Training, is_control
from unsee.scoring.signal import CellName, Signal, SignalCell

FORGETTING_SETS = ("forget", "test")

Model = tuple[str, str]  # method, modality
Trained = tuple[str, str, int]  # method, modality, seed
CellDraws = dict[CellName, Draws]


@dataclass(frozen=True)
class Parts:
    """The draws of every number of one training of a method, or of one method.

    Attributes:
        efficacy: None without a cell with signal; the same holds for `generality` and `score`.
        reason: the sign of collapse, or None.
    """

    efficacy: Draws | None
    generality: Draws | None
    utility: Draws | None
    score: Draws | None
    refused: Draws | None
    leaked: Draws | None
    garbled: float
    verdict: MethodVerdict
    reason: str | None


class ScoredRun:
    """One run with the draws of all its numbers.

    Args:
        answers: rows of target, oracle and methods.
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap; runs about other people need other seeds, to be drawn independently.

    Attributes:
        num_resamples: as given.
        seed: as given.
        bootstrap: the resamples of people.
        signal: target against oracle.
        draws: the headline metric of every cell, by method, modality and seed.

    Raises:
        RecordError: a column, the target or the oracle is missing, one of these has several seeds, or the questions
            of a model are not those of the target.
    """

    def __init__(self, answers: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> None:
        _check(answers)
        self.num_resamples, self.seed = num_resamples, seed
        self.bootstrap = Bootstrap(answers, num_resamples, seed)
        self.draws = headline_draws(self.bootstrap)
        self.signal = signal_of([self])

    @cached_property
    def trainings(self) -> dict[Model, dict[int, Parts]]:
        """The numbers of each training, by method and modality, then by seed."""
        answers = self.bootstrap.answers
        useful, known = _useful(self.of("target"), answers), lexicon(answers)
        rows = {key: rows for key, rows in answers.groupby(MODEL, sort=False)}
        target = next(own for (method, *_), own in rows.items() if method == "target")
        found: dict[Model, dict[int, Parts]] = {}
        for (method, modality, seed), own in rows.items():
            forgot = [self._skill((method, modality, seed), name) for name in FORGETTING_SETS]
            reason = why_collapsed(own, target, known, self.bootstrap)
            told = refused_and_leaked(self.bootstrap, own)
            parts = _parts(method, forgot, self._kept((method, modality, seed), useful), self.signal, reason)
            garbled = [is_garbled(answer, known) for answer in own.loc[own["task"].isin(FREE_TEXT), "answer"]]
            found.setdefault((str(method), str(modality)), {})[int(seed)] = Parts(
                *parts,
                *told,
                float(np.mean(garbled)) if garbled else 0.0,
                *_verdict(method, parts, self.signal, reason),
            )
        return found

    def of(self, method: str) -> CellDraws:
        """Return the draws of a model of which a run has one."""
        return next(cells for (name, *_), cells in self.draws.items() if name == method)

    def _skill(self, model: Trained, set_name: str) -> Draws | None:
        own, target, oracle = self.draws[model], self.of("target"), self.of("oracle")
        return _mean_of_cells([skill(own[c], target[c], oracle[c]) for c in self.signal.names(set_name)])

    def _kept(self, model: Trained, useful: Sequence[CellName]) -> Draws | None:
        own, target = self.draws[model], self.of("target")
        with np.errstate(invalid="ignore", divide="ignore"):
            return _mean_of_cells([np.minimum(own[c] / target[c], 1) for c in useful])


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
    return ScoredRun(answers[answers["method"].isin(["target", "oracle"])], num_resamples, seed).signal


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
        RecordError: the answers cannot be scored; see `ScoredRun`.
    """
    return score_runs([ScoredRun(answers, num_resamples, seed)], changes, better)


def score_runs(
    runs: Sequence[ScoredRun],
    changes: Mapping[Model, ChangeAndCost] | None = None,
    better: Mapping[str, Better] | None = None,
) -> Scores:
    """Compute the scores of several runs as one: every number is the mean over the runs that have the model."""
    signal = signal_of(runs)
    methods = []
    pools = {model: pool(runs, model) for run in runs for model in run.trainings}
    ranks = _ranks({model: pooled.score for model, pooled in pools.items() if not is_control("people", model[0])})
    for model, pooled in pools.items():
        trainings = [
            Training(
                run=number, seed=seed, verdict=one.verdict, score=None if one.score is None else float(one.score[0])
            )
            for number, run in enumerate(runs)
            for seed, one in run.trainings.get(model, {}).items()
        ]
        moved = (changes or {}).get(model)
        methods.append(
            MethodScore(
                method=model[0], modality=model[1], efficacy=_estimate(pooled.efficacy),
                generality=_estimate(pooled.generality), utility=_estimate(pooled.utility),
                score=_estimate(pooled.score), verdict=pooled.verdict, reason=pooled.reason, rank=ranks.get(model),
                refused=_estimate(pooled.refused), leaked=_estimate(pooled.leaked), garbled=pooled.garbled,
                trainings=trainings if len(trainings) > 1 else [], **(moved._asdict() if moved else {}),
            )
        )  # fmt: skip
    return Scores(
        kind="people", reason=signal.reason, better=dict(better or {}), cells=cells_of([run.bootstrap for run in runs]),
        methods=methods, lost=_lost(runs),
    )  # fmt: skip


def _ranks(scores: Mapping[Model, Draws | None]) -> dict[Model, int]:
    """Return 1 + the number of models with a decidedly higher score, for each model that has one."""
    known = {model: draws for model, draws in scores.items() if draws is not None}

    def is_higher(one: Draws, other: Draws) -> bool:
        difference = estimate(one - other)
        return difference is not None and difference.low > 0

    return {model: 1 + sum(is_higher(other, own) for other in known.values()) for model, own in known.items()}


def pool(runs: Sequence[ScoredRun], model: Model) -> Parts:
    """Return the numbers of one method: the mean over its seeds within each run, then over the runs.

    It has collapsed if more than half of its trainings have; each of these has the score 0.
    """
    of_runs = [list(run.trainings[model].values()) for run in runs if model in run.trainings]

    def mean(name: str) -> Draws | None:
        means = []
        for trainings in of_runs:
            draws = [getattr(one, name) for one in trainings]
            if any(part is None for part in draws):
                return None
            means.append(resampled_mean(draws, "-".join(model)))
        return resampled_mean(means, "runs")

    every = [one for trainings in of_runs for one in trainings]
    broken = [one for one in every if one.verdict == "collapsed"]
    verdict: MethodVerdict = "collapsed" if 2 * len(broken) > len(every) else "ok"
    if any(one.verdict == "no signal" for one in every):
        verdict = "no signal"
    reason = next((one.reason for one in (broken or every) if one.reason), None)
    if reason and len(every) > 1:
        reason = f"{len(broken)} of {len(every)} trainings collapsed, the first because {reason}"
    return Parts(
        mean("efficacy"), mean("generality"), mean("utility"), mean("score"), mean("refused"), mean("leaked"),
        float(np.mean([one.garbled for one in every])), verdict, reason,
    )  # fmt: skip


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


def _check(answers: pd.DataFrame) -> None:
    check_columns(answers)
    methods = sorted(answers["method"].unique())
    for needed in ("target", "oracle"):
        if needed not in methods:
            raise RecordError(f"answers: no rows of '{needed}', which every score needs (found: {', '.join(methods)})")
        if answers.loc[answers["method"] == needed, "seed"].nunique() > 1:
            raise RecordError(f"answers: '{needed}' has answers of several seeds; a run holds one")
    asked = {model: frozenset(items.to_numpy()) for model, items in answers.groupby(MODEL)["item"]}
    target = next(items for (method, *_), items in asked.items() if method == "target")
    for model, items in asked.items():
        if items != target:
            raise RecordError(f"answers: {model} and the target answered different questions; scores compare the same")


def headline_draws(bootstrap: Bootstrap, rows: pd.DataFrame | None = None) -> dict[Trained, CellDraws]:
    """Return the draws of the headline metric of every cell, by model (method, modality, seed) and cell.

    Args:
        bootstrap: the resamples.
        rows: some of its answers; by default all.
    """
    answers = bootstrap.answers if rows is None else rows
    headline = answers["rouge_l"].where(answers["task"] == "generation", answers["accuracy"])
    draws: dict[Trained, CellDraws] = {}
    means = bootstrap.means(answers.assign(headline=headline), "headline", by=MODEL + CELL)
    for (method, modality, seed, *cell), values in means.items():
        draws.setdefault((str(method), str(modality), int(str(seed))), {})[CellName(*map(str, cell))] = values
    return draws


def signal_of(runs: Sequence[ScoredRun]) -> Signal:
    """Return target against oracle in every cell of the forget and the test set, as the mean over the runs."""
    answers = [run.bootstrap.answers for run in runs]
    num_units = sum(table.groupby("set")["unit"].nunique() for table in answers)
    floors = pd.concat(answers).groupby(CELL)[["chance", "floor"]].mean()
    cells = []
    for name in sorted(name for name in runs[0].of("target") if name.set in FORGETTING_SETS):
        target, oracle = ([run.of(model)[name] for run in runs] for model in ("target", "oracle"))
        gaps = [one - other for one, other in zip(target, oracle, strict=True)]
        known, retrained, gap = (_estimate(resampled_mean(draws, "runs")) for draws in (target, oracle, gaps))
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
                chance=defined(floors.loc[name, "chance"]),
                floor=defined(floors.loc[name, "floor"]),
                signal=gap.low > 0 and int(num_units[name.set]) >= MIN_UNITS,
            )
        )
    return Signal(signal=any(cell.signal for cell in cells if cell.set == "forget"), cells=cells)


def _lost(runs: Sequence[ScoredRun]) -> list[Lost] | None:
    """Return the cells in which the target is worse than the base model; None if no run asked the base model."""
    asked = [run for run in runs if any(method == BASE for method, *_ in run.draws)]
    if not asked:
        return None
    lost = []
    for name in (name for name in asked[0].of(BASE) if name.set not in FORGETTING_SETS):
        base, target = ([run.of(model)[name] for run in asked] for model in (BASE, "target"))
        gaps = [one - other for one, other in zip(target, base, strict=True)]
        before, after, gap = (_estimate(resampled_mean(draws, "runs")) for draws in (base, target, gaps))
        if before and after and gap and gap.high < 0:
            lost.append(Lost(**name._asdict(), metric=HEADLINE[name.task], base=before, target=after, difference=gap))
    return lost


def _useful(target: CellDraws, answers: pd.DataFrame) -> list[CellName]:
    """Return the utility cells in which the target is better than chance; only these can lose anything."""
    chance = answers.groupby(CELL)["chance"].mean().fillna(0.0)
    found = {name: estimate(draws) for name, draws in target.items() if name.set not in FORGETTING_SETS}
    return [name for name, value in found.items() if value is not None and value.low > chance[name]]


def _value(draws: Draws | None) -> float | None:
    return None if draws is None else float(draws[0])


def _mean_of_cells(cells: list[Draws]) -> Draws | None:
    """Return the mean per resample over the cells defined in it; None if no cell is defined on the sample."""
    cells = [cell for cell in cells if not np.isnan(cell[0])]
    return mean_of_defined(cells) if cells else None


def _parts(
    method: str, forgot: Sequence[Draws | None], kept: Draws | None, signal: Signal, reason: str | None
) -> tuple[Draws | None, Draws | None, Draws | None, Draws | None]:
    """Return efficacy, generality, utility and score.

    The base model, which no method starts from, has utility only. Without a test set, the score has no generality.
    """
    efficacy, generality = (None, None) if method == BASE else forgot
    needed = [efficacy, generality, kept] if any(cell.set == "test" for cell in signal.cells) else [efficacy, kept]
    found = [part for part in needed if part is not None]
    if not signal.signal or len(found) < len(needed):
        return efficacy, generality, kept, None
    total = harmonic_mean(found)
    return efficacy, generality, kept, np.zeros_like(total) if reason else total


def _verdict(
    method: str, parts: Sequence[Draws | None], signal: Signal, reason: str | None
) -> tuple[MethodVerdict, str | None]:
    if method == BASE and signal.signal:
        return "ok", None
    return "no signal" if parts[-1] is None else "collapsed" if reason else "ok", reason


def _estimate(draws: Draws | None) -> Estimate | None:
    return None if draws is None else estimate(draws)
