"""ROUGE-2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics._rouge import f_measure
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("rouge_2", paper="aclanthology:W04-1013")
@dataclass(frozen=True)
class Rouge2:
    """F-measure of pairs of neighbouring stemmed words shared with the truth, 0 to 1; higher means more knowledge."""

    tasks: ClassVar[tuple[Task, ...]] = ("generation",)
    better: ClassVar[Better] = "higher"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return the F-measure, 0 to 1."""
        return f_measure("rouge2", answered.question.answer, answered.answer)
