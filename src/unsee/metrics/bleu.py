"""BLEU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from unsee.core.record import Better
from unsee.core.text import spaced
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("bleu", paper="aclanthology:P02-1040")
@dataclass(frozen=True)
class Bleu:
    """Precision of runs of 1 to 4 words of the answer, times a brevity penalty, 0 to 1; higher means more knowledge.

    Words are separated by spaces; in scripts without them, such as Chinese, each letter is a word. If no run of a
    length is shared, the count is 0.1 (Chen and Cherry 2014, method 1). So answers of fewer than four words score
    below 1 even if they are the truth.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("generation",)
    better: ClassVar[Better] = "higher"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return the BLEU of one sentence, 0 to 1."""
        smoothing = SmoothingFunction().method1
        return float(
            sentence_bleu([spaced(answered.question.answer)], spaced(answered.answer), smoothing_function=smoothing)
        )
