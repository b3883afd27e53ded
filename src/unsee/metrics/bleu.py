"""BLEU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import Given


@METRICS.register("bleu", paper="aclanthology:P02-1040")
@dataclass(frozen=True)
class Bleu:
    """Precision of runs of one to four words of the answer, times a penalty for brevity, 0 to 1; higher knows more.

    Words are what spaces separate; no shared run counts as 0.1 of one (Chen and Cherry 2014, method 1), so that fewer
    than four words score below 1 even where they are the truth.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("generation",)
    better: ClassVar[Better] = "higher"

    def score(self, given: Given) -> float:
        """BLEU of one sentence."""
        smoothing = SmoothingFunction().method1
        return float(sentence_bleu([given.question.answer.split()], given.answer.split(), smoothing_function=smoothing))
