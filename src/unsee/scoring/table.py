"""Numbers as text, and the rows of the final table, which the command line prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from unsee.core.record import GENERAL_SET, METRIC_COLUMNS, MIN_UNITS
from unsee.scoring.cells import HEADLINE
from unsee.scoring.intervals import Estimate
from unsee.scoring.names import readable, readable_metric
from unsee.scoring.schema import Cell, Scores

EXTRAS = ("rank", "weights_changed", "change", "refused", "leaked", "robustness", "generality", "efficacy", "utility")
"""The columns that a narrow terminal leaves out, the least important first."""


_NUMBERS = {
    "people": ("efficacy", "generality", "utility", "score", "robustness", "refused", "leaked"),
    "documents": ("eta", "refused", "leaked", "utility"),
}
_FACTS = (
    "rank",
    "garbled",
    "relative_change",
    "changed_parameters",
    "seconds",
    "peak_bytes",
    "forward_passes",
    "backward_passes",
    "verdict",
    "reason",
)
OPTIONAL = ("robustness",)
"""The columns that are left out where no row has a value, as in runs without attacks."""


class PeopleRow(NamedTuple):
    """One method of a run about people; each number is a value with its interval.

    Attributes:
        rank: methods of one rank are not told apart; "-" for controls.
    """

    method: str
    unlearned_from: str
    efficacy: str
    generality: str
    utility: str
    score: str
    robustness: str
    refused: str
    leaked: str
    rank: str
    verdict: str


class DocumentsRow(NamedTuple):
    """One method of a run about documents, measured on pictures that no edit saw."""

    method: str
    eta: str
    refused: str
    leaked: str
    utility: str
    change: str
    weights_changed: str
    verdict: str


class CellRow(NamedTuple):
    """The headline metric of one cell of one model, as text.

    Attributes:
        floor: the value of a model that knows nothing about the person: chance, or the template floor.
        invalid: share of answers that could not be read.
    """

    set: str
    task: str
    input: str
    metric: str
    value: str
    floor: str
    invalid: str
    people: str
    questions: str


def rows(scores: Scores) -> list[PeopleRow] | list[DocumentsRow]:
    """Return the methods and controls, best first: by score, or by EtA in a run about documents."""
    return _documents_rows(scores) if scores.kind == "documents" else _people_rows(scores)


def numbers(scores: Scores) -> pd.DataFrame:
    """Return the methods, one a row, with a column for every value and for the ends of its interval."""
    table = []
    for method in scores.methods:
        row: dict[str, object] = {"method": method.method, "modality": method.modality}
        for name in _NUMBERS[scores.kind]:
            number: Estimate | None = getattr(method, name)
            parts = (None, None, None) if number is None else (number.value, number.low, number.high)
            row |= zip((name, f"{name}_low", f"{name}_high"), parts, strict=True)
        table.append(row | {name: getattr(method, name) for name in _FACTS})
    return pd.DataFrame(table)


def _people_rows(scores: Scores) -> list[PeopleRow]:
    ranked = sorted(scores.methods, key=lambda m: -1.0 if m.score is None else m.score.value, reverse=True)
    return [
        PeopleRow(
            readable(m.method),
            m.modality,
            written(m.efficacy),
            written(m.generality),
            written(m.utility),
            written(m.score),
            written(m.robustness),
            written(m.refused),
            written(m.leaked),
            str(m.rank or "-"),
            m.verdict,
        )
        for m in ranked
    ]


def _documents_rows(scores: Scores) -> list[DocumentsRow]:
    ranked = sorted(scores.methods, key=lambda m: -1.0 if m.eta is None else m.eta.value, reverse=True)
    return [
        DocumentsRow(
            readable(m.method),
            written(m.eta),
            written(m.refused),
            written(m.leaked),
            written(m.utility),
            "-" if m.relative_change is None else rounded(m.relative_change, 4),
            "-" if m.changed_parameters is None else str(m.changed_parameters),
            m.verdict,
        )
        for m in ranked
    ]


def cell_rows(cells: Sequence[Cell]) -> list[CellRow]:
    """Return headline metrics and those of plug-ins, of every cell; fewer than `MIN_UNITS` people have no interval."""
    return [
        CellRow(
            cell.set,
            cell.task,
            cell.input,
            readable_metric(cell.metric),
            written(cell) if cell.n_units >= MIN_UNITS else rounded(cell.value),
            "-" if (floor := cell.floor if cell.chance is None else cell.chance) is None else rounded(floor),
            f"{cell.invalid:.0%}",
            "-" if cell.set == GENERAL_SET else str(cell.n_units),
            str(cell.n_items),
        )
        for cell in cells
        if cell.metric == HEADLINE[cell.task] or cell.metric not in METRIC_COLUMNS
    ]


def too_few(cells: Sequence[Cell]) -> str:
    """Return a sentence about the sets that have too few people for an interval; "" if there are none."""
    few = {cell.set: cell.n_units for cell in cells if cell.n_units < MIN_UNITS}
    named = ", ".join(f"{name} ({count})" for name, count in few.items())
    return f"Too few people for an interval: {named}; at least {MIN_UNITS} are needed." if few else ""


class Interval(Protocol):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def written(number: Interval | None, digits: int = 2) -> str:
    """Return a number with its interval, e.g. "0.82 [0.75, 0.88]"; a dash if there is none."""
    if number is None:
        return "-"
    value, low, high = (rounded(part, digits) for part in (number.value, number.low, number.high))
    return f"{value} [{low}, {high}]"


def spoken(number: Interval) -> str:
    """Return a number with its interval for a sentence, e.g. "0.82 (0.75 to 0.88)"."""
    return f"{rounded(number.value)} ({rounded(number.low)} to {rounded(number.high)})"


def percent(number: Interval | None, missing: str = "-") -> str:
    """Return a share in whole percent, or `missing` if there is none."""
    return missing if number is None else f"{number.value:.0%}"


def rounded(value: float, digits: int = 2) -> str:
    """Return a number with `digits` decimals, never -0.00."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
