"""Right or wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import Given


@METRICS.register("accuracy", paper="arXiv:2410.22108")
@dataclass(frozen=True)
class Accuracy:
    """1 if the right option was chosen or the blank filled exactly, else 0; higher knows more.

    Deviation from the MLLMU-Bench code: a cloze answer must equal the truth up to case, spaces and closing
    punctuation; the code accepts any answer that contains it.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "cloze")

    def score(self, given: Given) -> float:
        """0.0 or 1.0."""
        return float(_plain(given.answer) == _plain(given.question.answer))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,;:!").casefold()
