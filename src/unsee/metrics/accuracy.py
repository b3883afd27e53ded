"""Right or wrong."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar, Literal

from unsee.core.record import Better
from unsee.data.schema import Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion

_CLOSING = " .,;:!" + "\u3002\uff0c\uff1b\uff1a\uff01\u0964\u06d4"  # also of Chinese, Hindi and Urdu


@METRICS.register("accuracy", paper="arXiv:2410.22108")
@dataclass(frozen=True)
class Accuracy:
    """1 if the right option is chosen, the blank filled or the instruction followed; higher means more knowledge.

    An instruction is followed by the one right answer alone, up to spaces and closing punctuation, but not up to case.

    Attributes:
        cloze_match: "exact" requires the truth alone, up to case, spaces and closing punctuation; "substring", as in
            the published code, accepts any text that contains the truth, up to case.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "cloze", "instruction")
    better: ClassVar[Better] = "higher"
    cloze_match: Literal["exact", "substring"] = "exact"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return 0.0 or 1.0."""
        truth = answered.question.answer
        if self.cloze_match == "substring" and answered.question.task == "cloze":
            return float(_composed(truth).lower() in _composed(answered.answer).lower())
        given, wanted = _plain(answered.answer), _plain(truth)
        if answered.question.task == "instruction":
            return float(given == wanted)
        return float(given.casefold() == wanted.casefold())


def _plain(text: str) -> str:
    return _composed(re.sub(r"\s+", " ", text)).strip(_CLOSING)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
