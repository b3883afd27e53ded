"""Numbers as text, and the rows of the final table; the command line gives them colour and lines."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from unsee.scoring.schema import Scores


class Row(NamedTuple):
    """One method; numbers are written as value and interval."""

    method: str
    modality: str
    efficacy: str
    generality: str
    utility: str
    score: str
    refused: str
    leaked: str
    verdict: str


class DocumentsRow(NamedTuple):
    """One method of a run about documents, measured on what no edit has met."""

    method: str
    eta: str
    refused: str
    leaked: str
    utility: str
    change: str
    weights: str
    verdict: str


def rows(scores: Scores) -> list[Row] | list[DocumentsRow]:
    """The methods in the order of their score, the best first; controls take part like any other."""
    if any(method.eta for method in scores.methods):
        return _documents_rows(scores)
    ranked = sorted(scores.methods, key=lambda m: -1.0 if m.score is None else m.score.value, reverse=True)
    return [
        Row(
            m.method,
            m.modality,
            written(m.efficacy),
            written(m.generality),
            written(m.utility),
            written(m.score),
            written(m.refused),
            written(m.leaked),
            m.verdict,
        )
        for m in ranked
    ]


def _documents_rows(scores: Scores) -> list[DocumentsRow]:
    """The methods in the order of their EtA."""
    ranked = sorted(scores.methods, key=lambda m: -1.0 if m.eta is None else m.eta.value, reverse=True)
    return [
        DocumentsRow(
            m.method,
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


class Interval(Protocol):
    """Anything with a value and the ends of its interval."""

    value: float
    low: float
    high: float


def written(number: Interval | None, digits: int = 2) -> str:
    """A number with its interval, e.g. "0.82 [0.75, 0.88]"; a dash where there is none."""
    if number is None:
        return "-"
    value, low, high = (rounded(part, digits) for part in (number.value, number.low, number.high))
    return f"{value} [{low}, {high}]"


def rounded(value: float, digits: int = 2) -> str:
    """So many decimals, never -0.00."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
