"""Examples on a page: a person or a picture with some questions, and what every model answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

_LONGEST_ANSWER = 160


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, a note on it, and the models that gave it."""

    text: str
    note: str
    models: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question of some kind with its true answer and the answers of the models; `options` of a choice."""

    kind: str
    question: str
    truth: str
    answers: list[Answer]
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A person or a picture.

    Attributes:
        name: its heading.
        image: a data URI, or None if the run saved none.
        alternative: what the image shows, in words.
        tag: what it is for.
        look: class of the tag in the style sheet.
    """

    name: str
    image: str | None
    alternative: str
    tag: str
    look: str = ""
    questions: list[Asked]


def merged(
    rows: pd.DataFrame, note: Callable[[pd.Series], str], closeness: Callable[[pd.Series], float] = lambda row: 0.0
) -> list[Answer]:
    """Return the answers to one question, equal ones merged, the closest first, and of these the most frequent.

    Args:
        rows: of the answers table.
        note: returns what stands beside the answer of a row.
        closeness: returns how close the answer of a row is to the truth; by default all are alike.
    """
    answers = []
    for text, same in rows.groupby(rows["answer"].str.strip(), sort=False):
        models = list(dict.fromkeys(zip(same["method"], same["modality"], strict=True)))
        first = same.iloc[0]
        answers.append((closeness(first), Answer(text=_shortened(str(text)), note=note(first), models=models)))
    answers.sort(key=lambda one: (-one[0], -len(one[1].models)))
    return [answer for _, answer in answers]


def _shortened(text: str) -> str:
    """Return the beginning of a long answer."""
    return text if len(text) <= _LONGEST_ANSWER else f"{text[:_LONGEST_ANSWER].rstrip()} …"
