"""Right or wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("accuracy", paper="arXiv:2410.22108")
@dataclass(frozen=True)
class Accuracy:
    """1 if the right option is chosen or the blank is filled with the truth, else 0; higher means more knowledge.

    Attributes:
        cloze_match: "exact" requires the truth alone, up to case, spaces and closing punctuation; "substring", as in
            the published code, accepts any text that contains the truth, up to case.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "cloze")
    better: ClassVar[Better] = "higher"
    cloze_match: Literal["exact", "substring"] = "exact"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return 0.0 or 1.0."""
        truth = answered.question.answer
        if self.cloze_match == "substring" and answered.question.task == "cloze":
            return float(truth.lower() in answered.answer.lower())
        return float(_plain(answered.answer) == _plain(truth))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,;:!").casefold()
