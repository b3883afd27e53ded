"""A metric."""

from dataclasses import dataclass
from typing import ClassVar

from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("extra_metric", paper="arXiv:0000.00003")
@dataclass(frozen=True)
class ExtraMetric:
    """Share of the answer's words that are short; higher says less."""

    tasks: ClassVar[tuple[str, ...]] = ("generation", "cloze")
    better: ClassVar[str] = "lower"
    longest: int = 3

    def score(self, answered: AnsweredQuestion) -> float:
        words = answered.answer.split()
        return sum(len(word) <= self.longest for word in words) / len(words) if words else 0.0
