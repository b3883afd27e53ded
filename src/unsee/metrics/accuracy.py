"""Right or wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import Given


@METRICS.register("accuracy", paper="arXiv:2410.22108")
@dataclass(frozen=True)
class Accuracy:
    """1 if the right option was chosen or the blank filled with the truth, else 0; higher knows more.

    Attributes:
        cloze_match: "exact" wants the truth and nothing else, up to case, spaces and closing punctuation; "substring",
            the published code, is content with any text that has the truth in it, case aside.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "cloze")
    better: ClassVar[Better] = "higher"
    cloze_match: Literal["exact", "substring"] = "exact"

    def score(self, given: Given) -> float:
        """0.0 or 1.0."""
        truth = given.question.answer
        if self.cloze_match == "substring" and given.question.task == "cloze":
            return float(truth.lower() in given.answer.lower())
        return float(_plain(given.answer) == _plain(truth))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,;:!").casefold()
