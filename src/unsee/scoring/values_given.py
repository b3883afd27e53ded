"""Finds the value of a row in an answer: how much of it is given, and whether a model would have guessed it.

The value is what the true answer adds to the question: its words without those of the question and without words that
carry no fact. A word identifies if other people do not get it: "Falcon" of "Falcon University" does, if the model
says "University" of most people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

GUESSED = 0.2
"""From this share of strangers on, a word that they get too is guessed and not known."""
COMMON = 0.5
"""From this share of strangers on, a word belongs to the wording and not to the value."""

_NUMBER = r"\d+(?:[.,]\d+)*"
_TOKEN = re.compile(rf"{_NUMBER}|[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Letters of scripts that put no space between words."""
_EMPTY = frozenset(re.findall(r"\w+", """
    a an the this that these those is are was were be been am do does did has have had of at in on to for from by as and
    or with it its he him his she her hers they them their person individual man woman who which what
"""))  # fmt: skip


@dataclass(frozen=True)
class Given:
    """What an answer gives of a value.

    Attributes:
        share: the share of the identifying words that are in the answer, 0 to 1; 0 if strangers get them too.
        guessed: True if the whole value is in the answer, but strangers get it too.
    """

    share: float
    guessed: bool


def value_words(question: str, answer: str) -> tuple[str, ...]:
    """Return the words of the value that an answer adds to its question, each once.

    An answer that adds nothing ("Yes" to a question that says yes) is its own value.
    """
    said, asked = dict.fromkeys(tokens(answer)), set(tokens(question))
    added = tuple(word for word in said if word not in asked and word not in _EMPTY)
    return added or tuple(word for word in said if word not in _EMPTY) or tuple(said)


def given(answer: str, value: Sequence[str], others: Sequence[str]) -> Given:
    """Return what an answer gives of a value.

    Args:
        answer: the answer.
        value: its words, as `value_words` returns them.
        others: the answers that strangers get to the same question; with none, no word counts as guessed.
    """
    rates = {word: sum(word in _found(other, value) for other in others) / max(1, len(others)) for word in value}
    identifying = [word for word in value if rates[word] < COMMON] or list(value)
    found = _found(answer, identifying)
    whole = bool(identifying) and len(found) == len(identifying)
    if not any(rates[word] < GUESSED for word in found):
        return Given(0.0, whole and _together(others, identifying))
    return Given(len(found) / len(identifying), False)


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text: case folded, in one Unicode form, numbers without their separators."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [_digits(token) if token[0].isdigit() else token for token in _TOKEN.findall(plain)]


def _found(answer: str, words: Sequence[str]) -> set[str]:
    """Return the words that an answer contains; a word of a script without spaces may be a part of a longer one."""
    said = set(tokens(answer))
    return {word for word in words if word in said or (_UNSPACED.search(word) and _within(word, said))}


def _within(word: str, said: Collection[str]) -> bool:
    return any(word in longer for longer in said)


def _together(others: Sequence[str], words: Sequence[str]) -> bool:
    return any(len(_found(other, words)) == len(words) for other in others)


def _digits(number: str) -> str:
    """Return a number without separators, and without zero cents."""
    return re.sub(r"\D", "", re.sub(r"[.,]00?$", "", number))
