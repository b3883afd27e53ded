"""The difference between two methods, in one run or in several: paired over people, trainings and runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from unsee.config.recipe import Kind, kind_of, load_recipe
from unsee.core.errors import ConfigError, RecordError, UnknownNameError
from unsee.core.files import sha256_of
from unsee.core.record import ATTACKS_FILE, Record, refuse_request
from unsee.scoring.documents import shared_draws
from unsee.scoring.intervals import Draws, Estimate, estimate, resampled_mean
from unsee.scoring.names import readable_metric
from unsee.scoring.people import Model, ScoredRun, pool
from unsee.scoring.privacy import PrivacyDraws, privacy_draws_of
from unsee.scoring.table import rounded, written

PARTS = ("efficacy", "generality", "utility", "score", "refused", "leaked")


class Compared(NamedTuple):
    """One number of two methods; the difference is first minus second.

    Attributes:
        modality: the questions that they unlearned from, "first / second" if these differ; "" if there is no choice.
        number: a column of the table of methods.
    """

    modality: str
    number: str
    first: Estimate
    second: Estimate
    difference: Estimate


class ComparedRow(NamedTuple):
    """One number of two methods as text; `low` and `high` are the ends of the difference's interval."""

    unlearned_from: str
    number: str
    first: str
    second: str
    difference: str
    low: str
    high: str


def compared_rows(compared: Sequence[Compared]) -> list[ComparedRow]:
    """Return the comparison as text."""
    return [
        ComparedRow(
            one.modality, readable_metric(one.number), written(one.first), written(one.second),
            *(rounded(end) for end in (one.difference.value, one.difference.low, one.difference.high)),
        )
        for one in compared
    ]  # fmt: skip


def compare_methods(folders: Sequence[Path], first: str, second: str) -> list[Compared]:
    """Return every number that both methods have, with the interval of the paired difference.

    Args:
        folders: finished runs, all about people or all about documents.
        first: the name of a method's table; "-image", "-text" or "-both" after it chooses what it unlearned from.
        second: the same for the other method.

    Raises:
        RecordError: a folder is no finished run or given twice, or the runs are of both kinds or have no signal.
        UnknownNameError: a run has no such method.
        ConfigError: the two did not unlearn from the same questions.
    """
    records = [Record.open(folder) for folder in folders]
    kind = kind_of_runs(records)
    check_different(records)
    if kind == "documents":
        return list(_of_documents(records, first, second))
    return list(_of_people(folders, scored_runs(records), first, second))


def kind_of_runs(records: Sequence[Record]) -> Kind:
    """Return "people" or "documents", what all these runs are about.

    Raises:
        RecordError: a record is no run, or runs of both kinds are mixed.
    """
    for record in records:
        refuse_request(record)
    kinds = {kind_of(record.read_toml("config.toml")): record.folder for record in records}
    if len(kinds) > 1:
        named = " and ".join(f"{folder} is about {kind}" for kind, folder in kinds.items())
        raise RecordError(f"{named}: they have no number in common; give runs of one kind")
    return next(iter(kinds))


def check_different(records: Sequence[Record]) -> None:
    """Refuse a run that is given twice, also as a copy: it would count twice in what is pooled.

    Raises:
        RecordError: one is.
    """
    seen: dict[str, Path] = {}
    for record in (record for record in records if "answers.parquet" in record):  # what is missing is said later
        content = record.read_text("config.toml") + sha256_of(record.folder / "answers.parquet")
        if content in seen:
            raise RecordError(f"{record.folder}: holds the same run as {seen[content]}; name each run once")
        seen[content] = record.folder


def attack_tables(records: Sequence[Record]) -> list[pd.DataFrame]:
    """Return the answers under attack of runs, with the units of `scored_runs`; none if a run was not attacked."""
    if not all(ATTACKS_FILE in record for record in records):
        return []
    people = [load_recipe(record.folder / "config.toml").model_dump()["data"] for record in records]
    tables = [record.read_table(ATTACKS_FILE) for record in records]
    if len(records) == 1:
        return tables
    return [
        table.assign(unit=f"{people.index(data)}/" + table["unit"]) for table, data in zip(tables, people, strict=True)
    ]


def scored_runs(records: Sequence[Record]) -> list[ScoredRun]:
    """Score runs about people so that they can be pooled: the same people are drawn together, others independently."""
    recipes = [load_recipe(record.folder / "config.toml") for record in records]
    people = [recipe.model_dump()["data"] for recipe in recipes]
    runs = []
    for record, recipe, data in zip(records, recipes, people, strict=True):
        draw = people.index(data)
        answers = record.read_answers()
        if len(records) > 1:
            answers = answers.assign(unit=f"{draw}/" + answers["unit"])
        runs.append(ScoredRun(answers, recipe.evaluation.bootstrap, draw))
    return runs


def _of_people(
    folders: Sequence[Path], runs: Sequence[ScoredRun], first: str, second: str
) -> Iterator[Compared]:  # fmt: skip
    models = [model for model in runs[0].trainings if all(model in run.trainings for run in runs)]
    for folder, run in zip(folders, runs, strict=True):
        for name in (first, second):
            _named(name, list(run.trainings), f"--methods: {folder}" if len(runs) > 1 else "--methods")
    ours, theirs = _named(first, models), _named(second, models)
    for folder, run in zip(folders, runs, strict=True):
        if not run.signal.signal:
            raise RecordError(f"{folder}: no signal, so no method is ranked: {run.signal.reason}")
    alone = 1 in (len(ours), len(theirs))
    pairs = [(one, other) for one in ours for other in theirs if alone or one[1] == other[1]]
    if not pairs:
        raise ConfigError(
            f"--methods {first} {second}: did not unlearn from the same questions; name one kind of each, such as "
            f"{'-'.join(filter(None, ours[0]))}"
        )
    for one, other in pairs:
        left, right = pool(runs, one), pool(runs, other)
        for part in PARTS:
            draws = getattr(left, part), getattr(right, part)
            yield from _compared(" / ".join(dict.fromkeys(filter(None, (one[1], other[1])))), part, *draws)


def _of_documents(records: Sequence[Record], first: str, second: str) -> Iterator[Compared]:
    draws: list[dict[str, PrivacyDraws]] = []
    for number, record in enumerate(records):
        resamples = load_recipe(record.folder / "config.toml").evaluation.bootstrap
        found = privacy_draws_of(record.read_answers(), ["method"], resamples, number)
        draws.append({str(name): own for (name,), own in found.items()})
    for record, run in zip(records, draws, strict=True):
        for name in (first, second):
            if name not in run:
                raise UnknownNameError(f"--methods: {record.folder}" if len(draws) > 1 else "--methods", name, run)
    pairs = [shared_draws(run[first], run[second]) for run in draws]
    for metric in pairs[0]:
        if all(metric in run for run in pairs):
            ours, theirs = (resampled_mean([run[metric][side] for run in pairs], "runs") for side in (0, 1))
            yield from _compared("", metric, ours, theirs)


def _named(name: str, models: Sequence[Model], where: str = "--methods") -> list[Model]:
    """Return the models of a method, or the one of a method and what it unlearned from."""
    found = [model for model in models if model[0] == name] or [
        model for model in models if "-".join(filter(None, model)) == name
    ]
    if not found:
        raise UnknownNameError(where, name, dict.fromkeys(method for method, _ in models))
    return found


def _compared(modality: str, number: str, one: Draws | None, other: Draws | None) -> Iterator[Compared]:
    if one is None or other is None:
        return
    left, right, difference = estimate(one), estimate(other), estimate(one - other)
    if left and right and difference:
        yield Compared(modality, number, left, right, difference)
