"""Finds private values in answers: words as whole words, numbers as whole numbers."""

from __future__ import annotations

import re
import unicodedata

from unsee.core.text import words

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SPELLED = re.compile(r"\d+(?:[\s\-/.,]+\d+)+")
_CENTS = re.compile(r"[.,]00?$")


def discloses(answer: str, value: str) -> bool:
    """Return True if the answer contains the value.

    Case, Unicode form and punctuation do not matter. A number counts if it occurs by itself, with its digits separated
    ("4-2 7") or with zero cents, but not as a part of a longer number.

    Raises:
        ValueError: the value is empty.
    """
    answer, value = (unicodedata.normalize("NFKC", text).casefold() for text in (answer, value))
    if _NUMBER.fullmatch(value):
        return _digits(value) in _numbers(answer)
    wanted, said = words(value), words(answer)
    if not wanted:
        raise ValueError(f"nothing to look for in {value!r}")
    return any(said[i : i + len(wanted)] == wanted for i in range(len(said) - len(wanted) + 1))


def _numbers(text: str) -> set[str]:
    """Return every number in a text as digits, and neighbouring numbers joined."""
    alone = [match.group() for match in _NUMBER.finditer(text)]
    together = [match.group() for match in _SPELLED.finditer(text)]
    return {_digits(number) for number in (*alone, *(_CENTS.sub("", number) for number in alone), *together)}


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)
