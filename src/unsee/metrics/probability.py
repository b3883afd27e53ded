"""Probability of the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("probability", paper="arXiv:2401.06121")
@dataclass(frozen=True)
class Probability:
    """Geometric mean of the token probabilities of the true answer, 0 to 1; higher means more knowledge.

    It shows knowledge also if the model answers with a refusal. Of prose it is the mean over characters, so
    that models with other tokens compare: 2 to the power of minus its bits per character.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "generation", "cloze", "instruction", "prose")
    better: ClassVar[Better] = "higher"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return `P(truth) ** (1 / tokens)`, of prose `P(truth) ** (1 / characters)`."""
        prose = answered.question.task == "prose"
        return math.exp(answered.log_probability / (len(answered.question.answer) if prose else answered.num_tokens))
