"""The truth against false answers in the same words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion


@METRICS.register("truth_ratio", paper="arXiv:2401.06121")
@dataclass(frozen=True)
class TruthRatio:
    """How much likelier the truth is than false answers in its form, 0 to 1; higher means more knowledge.

    It is `max(0, 1 - R)` with `R = exp(L(truth in other words) - mean L(false answer))`, L being the mean negative
    log-likelihood of a token. Only benchmarks that come with false answers have it.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("generation",)
    better: ClassVar[Better] = "higher"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return the value; NaN without false answers."""
        losses = [-log_probability / tokens for log_probability, tokens in answered.others]
        if len(losses) < 2 or any(map(math.isnan, losses)):
            return math.nan
        if math.isinf(losses[0]):  # a guard spoke in the model's place
            return 0.0
        return max(0.0, -math.expm1(min(0.0, losses[0] - fmean(losses[1:]))))
