"""A keyword filter in front of the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from unsee.data.pairs import PrivacyPair
from unsee.methods import METHODS
from unsee.methods.base import Guard, GuardMethod


@METHODS.register("keyword_guardrail", paper="arXiv:2603.12598")
@dataclass(frozen=True, kw_only=True)
class KeywordGuardrail(GuardMethod):
    """Refuse every question with a word that occurs in private questions and in no benign one.

    Attributes:
        refusal: the answer in place of the model's.
    """

    refusal: str = "I am sorry, but I cannot help with that."

    def guard(self, pairs: Sequence[PrivacyPair]) -> Guard:
        """Return the filter with the words of these pairs."""
        private = {word for pair in pairs for word in _words(pair.sensitive)}
        keywords = private - {word for pair in pairs for word in _words(pair.benign)}
        return lambda question: self.refusal if keywords & set(_words(question)) else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
