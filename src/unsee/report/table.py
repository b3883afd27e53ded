"""Numbers as text, and the rows of the final table; the command line gives them colour and lines."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from unsee.report.scores import Scores


class Row(NamedTuple):
    """One method; numbers are written as value and interval."""

    method: str
    modality: str
    efficacy: str
    generality: str
    utility: str
    score: str
    verdict: str


def rows(scores: Scores) -> list[Row]:
    """The methods in the order of their score, the best first; controls take part like any other."""
    ranked = sorted(scores.methods, key=lambda m: -1.0 if m.score is None else m.score.value, reverse=True)
    return [
        Row(
            m.method,
            m.modality,
            written(m.efficacy),
            written(m.generality),
            written(m.utility),
            written(m.score),
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
