"""Finds the value of a row in answers: how much of it is given, and whether a model that knows nothing gives it too.

The value is what the true answer adds to the question: its words without those of the question and without words that
carry no fact. A word identifies if most other people do not get it: "Falcon" of "Falcon University" does, if the model
says "University" of most people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

GUESSED = 0.1
"""The share of strangers who must get a value as often as the person, or of their answers that hold it, for a guess."""
COMMON = 0.5
"""From this share of strangers' answers on, a word belongs to the wording and not to the value."""

_NUMBER = r"\d+(?:[.,]\d+)*"
_TOKEN = re.compile(rf"{_NUMBER}|[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Letters of scripts that put no space between words."""
_EMPTY = frozenset(re.findall(r"\w+", """
    a an the this that these those is are was were be been am do does did has have had of at in on to for from by as and
    or with it its he him his she her hers they them their person individual man woman who which what
"""))  # fmt: skip


def value_words(question: str, answer: str) -> tuple[str, ...]:
    """Return the words of the value that an answer adds to its question, each once.

    An answer that adds nothing ("Yes" to a question that says yes) is its own value.
    """
    said, asked = dict.fromkeys(tokens(answer)), set(tokens(question))
    added = tuple(word for word in said if word not in asked and word not in _EMPTY)
    return added or tuple(word for word in said if word not in _EMPTY) or tuple(said)


def identifying(value: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a value that most answers about other people lack; all of them if there is no such word."""
    counts = {word: sum(bool(_found(other, [word])) for other in others) for word in value}
    return tuple(word for word in value if counts[word] < COMMON * len(others)) or tuple(value)


def share_given(answer: str, words: Sequence[str]) -> float:
    """Return the share of some words that an answer contains, 0 to 1."""
    return len(_found(answer, words)) / len(words) if words else 0.0


def is_guess(times: int, times_of_others: Sequence[int], ways: int) -> bool:
    """Return True if strangers get a value too: `GUESSED` of them as many times, or in `GUESSED` of all their answers.

    A model that knows nothing gives everybody the likeliest value, and gives it to one person in every way of asking.

    Args:
        times: in how many ways of asking the person gets it, at least 1.
        times_of_others: the same of each stranger, asked in the same ways.
        ways: the number of ways.
    """
    wanted = GUESSED * len(times_of_others)
    as_often = sum(other >= times for other in times_of_others)
    return bool(times_of_others) and (as_often >= wanted or sum(times_of_others) >= wanted * ways)


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


def _digits(number: str) -> str:
    """Return a number without separators, and without zero cents."""
    return re.sub(r"\D", "", re.sub(r"[.,]00?$", "", number))
