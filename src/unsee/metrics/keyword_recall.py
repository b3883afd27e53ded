"""The words that matter in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("keyword_recall", paper="arXiv:2411.03554")
@dataclass(frozen=True)
class KeywordRecall:
    """Share of the keywords of the truth that the answer holds, up to case, 0 to 1; higher means more knowledge.

    Only benchmarks that come with keywords have it.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("generation",)
    better: ClassVar[Better] = "higher"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return the share; NaN without keywords."""
        answer = answered.answer.casefold()
        return fmean([float(word.casefold() in answer) for word in answered.question.keywords] or [math.nan])
