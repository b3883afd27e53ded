"""A guard of keywords in front of the model."""

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
    """Refuse, without asking the model, every question with a word that only private questions of the pairs hold.

    Attributes:
        refusal: what is said in place of the model.
    """

    refusal: str = "I am sorry, but I cannot help with that."

    def guard(self, pairs: Sequence[PrivacyPair]) -> Guard:
        """The guard with the words of these pairs."""
        private = {word for pair in pairs for word in _words(pair.sensitive)}
        keywords = private - {word for pair in pairs for word in _words(pair.benign)}
        return lambda question: self.refusal if keywords & set(_words(question)) else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
