"""Compares the answers before and after a deletion request, and writes the page of the request."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from unsee.core.record import GENERAL_SET, Record, further_metrics
from unsee.report.page import render
from unsee.scoring.collapse import lexicon, why_collapsed
from unsee.scoring.intervals import Bootstrap, Draws, Estimate, estimate
from unsee.scoring.record_file import RecordFile, Strict
from unsee.scoring.schema import MIN_UNITS
from unsee.scoring.table import rounded, written

BEFORE, AFTER = "before", "after"
METRICS = {"probability": "probability", "rouge_l": "ROUGE-L", "accuracy": "word for word"}
_SETS = ("forget", "retain", GENERAL_SET)


class BeforeAfter(Strict):
    """One number before and after; the three intervals share the same draws of people.

    Attributes:
        set: forget, retain, or general (questions unrelated to the people).
        input: image or text.
        metric: probability, rouge_l or accuracy. Accuracy is the share of exact answers, or of correct choices in the
            general set.
        change: after minus before.
        n_units: number of people, or of items of the general set; intervals over few of them are not shown.
    """

    set: str
    input: str
    metric: str
    before: Estimate
    after: Estimate
    change: Estimate
    n_units: int
    n_items: int

    @property
    def has_interval(self) -> bool:
        """True if there are enough units for an interval."""
        return self.n_units >= MIN_UNITS


class Outcome(RecordFile):
    """The content of request.json.

    Attributes:
        collapsed: the sign of collapse as a sentence, or None; a sign that the model showed before does not count.
    """

    version: Literal["unsee.request/2"] = Field(default="unsee.request/2", alias="schema")
    figures: list[BeforeAfter]
    collapsed: str | None


class DeletionRow(NamedTuple):
    """One figure as text."""

    set: str
    input: str
    metric: str
    before: str
    after: str
    change: str
    people: str
    items: str


def compare(answers: pd.DataFrame, resamples: int) -> Outcome:
    """Compute every figure of a deletion request.

    Args:
        answers: the answers table of the model before and after, told apart by `method`.
        resamples: number of resamples of the people.
    """
    bootstrap = Bootstrap(answers, resamples)
    asked = bootstrap.answers
    figures = []
    for metric in (*METRICS, *further_metrics(answers)):
        rows = asked[asked[metric].notna() & ((asked["set"] != GENERAL_SET) | (metric == "accuracy"))]
        draws = bootstrap.means(rows, metric, by=["method", "set", "input"])
        for set_name in _SETS:
            for kind in ("image", "text"):
                cell = rows[(rows["set"] == set_name) & (rows["input"] == kind) & (rows["method"] == BEFORE)]
                if len(cell):
                    before, after = (draws[model, set_name, kind] for model in (BEFORE, AFTER))
                    figures.append(_figure(cell, metric, before, after))
    return Outcome(figures=figures, collapsed=_collapsed(bootstrap))


def rows(outcome: Outcome) -> list[DeletionRow]:
    """Return the figures as text, ordered by set and input."""
    return [
        DeletionRow(
            set=figure.set,
            input=figure.input,
            metric=_metric_name(figure),
            before=_text(figure, figure.before),
            after=_text(figure, figure.after),
            change=_text(figure, figure.change),
            people=str(figure.n_units) if figure.set != GENERAL_SET else "-",
            items=str(figure.n_items),
        )
        for name in _SETS
        for figure in _of(outcome, name)
    ]


def write_request_report(record: Record, title: str, outcome: Outcome) -> Path:
    """Write report.html. It holds figures only, so that it does not contain the deleted facts.

    Args:
        record: the folder.
        title: the heading of the page.
        outcome: the figures.
    """
    page = render(
        "deletion.html",
        title=title,
        verdict=_verdict(outcome),
        collapsed=outcome.collapsed,
        groups=[(name, figures) for name in _SETS if (figures := _of(outcome, name))],
        name_of=_metric_name,
        min_units=MIN_UNITS,
        config=record.read_text("config.toml"),
    )
    record.write_text("report.html", page)
    return record.folder / "report.html"


def _of(outcome: Outcome, set_name: str) -> list[BeforeAfter]:
    return sorted((f for f in outcome.figures if f.set == set_name), key=lambda figure: figure.input)


def _figure(cell: pd.DataFrame, metric: str, before: Draws, after: Draws) -> BeforeAfter:
    def certain(draws: Draws) -> Estimate:
        number = estimate(draws)
        return number or Estimate(value=np.nan, low=np.nan, high=np.nan)

    return BeforeAfter(
        set=str(cell["set"].iloc[0]),
        input=str(cell["input"].iloc[0]),
        metric=metric,
        before=certain(before),
        after=certain(after),
        change=certain(after - before),
        n_units=int(cell["unit"].nunique()),
        n_items=len(cell),
    )


def _collapsed(bootstrap: Bootstrap) -> str | None:
    answers = bootstrap.answers
    before, after = (answers[answers["method"] == model] for model in (BEFORE, AFTER))
    known = lexicon(answers.assign(method=answers["method"].replace(BEFORE, "target")))
    if why_collapsed(before, before, known, bootstrap):
        return None
    return why_collapsed(after, before, known, bootstrap)


def _verdict(outcome: Outcome) -> list[str]:
    """Return the outcome in plain words, one sentence for each input."""
    sentences = []
    for set_name, what in (("forget", "to be forgotten"), ("retain", "to be kept")):
        for kind, how in (("image", "with the photo"), ("text", "in text")):
            figures = {f.metric: f for f in outcome.figures if (f.set, f.input) == (set_name, kind)}
            if not figures:
                continue
            probability, exact = figures["probability"], figures["accuracy"]
            before, after = rounded(probability.before.value), rounded(probability.after.value)
            sentences.append(
                f"Asked {how}, the model gives the answers {what} with a probability of {after} (before: {before}) "
                f"and {exact.after.value:.0%} of them word for word (before: {exact.before.value:.0%})."
                f"{_doubt(probability)}"
            )
    return sentences


def _doubt(figure: BeforeAfter) -> str:
    if not figure.has_interval:
        who = "one person" if figure.n_units == 1 else f"{figure.n_units} people"
        return f" That is {who}: with fewer than {MIN_UNITS}, nothing says how far it holds for others."
    if figure.set == "forget" and figure.change.high >= 0:
        return " This may be chance: the interval of the change reaches 0."
    return ""


def _metric_name(figure: BeforeAfter) -> str:
    return "right choices" if figure.set == GENERAL_SET else METRICS.get(figure.metric, figure.metric)


def _text(figure: BeforeAfter, number: Estimate) -> str:
    return written(number) if figure.has_interval else rounded(number.value)
