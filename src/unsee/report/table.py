"""The rows of the final table as plain text; the command line gives them colour and lines."""

from __future__ import annotations

from typing import NamedTuple

from unsee.report.intervals import Estimate
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


def written(number: Estimate | None) -> str:
    """A number with its interval, e.g. "0.82 [0.75, 0.88]"; a dash where there is none."""
    return "-" if number is None else f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"
