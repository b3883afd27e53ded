"""Answers that are broken in a way that unlearning causes: garbled, one for every question, or with another's name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from unsee.refusals.base import opens_with_refusal
from unsee.scoring.collapse import repeats_itself, words

KINDS = ("garbled", "same", "names")
"""garbled: empty, repetitive, or not made of words. same: the answer to more than half of the questions about the
person, though their true answers differ. names: holds another name than the person's."""

_FEWEST_SAME = 3  # different true answers
_LONG = 5  # words; a shorter answer may be made of words that nobody said before
_LONGEST_REPEATED = 6  # words
_RUN = re.compile(r"(\S)\1{4,}")
_JOINED = re.compile(r"\d[^\W\d_]{4,}|[^\W\d_]{3,}\d{3,}|[,;:][^\W\d_]{2,}|\d,\d{1,2},\d")
"""A number joined to a word, a word to a number, a comma to a word, a number with its separators in wrong places."""
_GLUED = re.compile(r"\b([^\W\d_A-Z]{2,})(?=[A-Z])")
_NAME = re.compile(r"[^\W\d_]{3,}")
_TWO_NAMES = re.compile(r"\b([A-Z][^\W\d_A-Z]+) ([A-Z][^\W\d_A-Z]+)")


def broken(answers: pd.DataFrame, names: Mapping[str, str], known: Collection[str]) -> pd.DataFrame:
    """Return one boolean column for each of `KINDS`, for answers of one model about people.

    Args:
        answers: rows of the answers table; `unit` is the person.
        names: the name of every person in the request, by unit, and of the strangers.
        known: the words of the questions and of the model before, case folded.
    """
    flags = pd.DataFrame(index=answers.index)
    flags["garbled"] = [is_garbled(answer, known) for answer in answers["answer"]]
    flags["same"] = _same(answers)
    flags["names"] = [_has_other_name(row, names, known) for row in answers.to_dict("records")]
    return flags


def is_garbled(text: str, known: Collection[str]) -> bool:
    """Return True if an answer is empty, repeats itself or is not made of words.

    It repeats itself if the same words come twice running. It is not made of words if a sign comes five times in a row,
    if words and numbers run together, or if it has five words or more and more than half of them are unknown.
    """
    said = words(text)
    if not said or repeats_itself(said) or _comes_twice(said) or _RUN.search(text) or _JOINED.search(text):
        return True
    if any(found.group(1) in known for found in _GLUED.finditer(text)):
        return True
    return len(said) >= _LONG and sum(word not in known for word in said) > len(said) / 2


def _comes_twice(said: Sequence[str]) -> bool:
    return any(
        said[i : i + length] == said[i + length : i + 2 * length]
        for length in range(1, _LONGEST_REPEATED + 1)
        for i in range(len(said) - 2 * length + 1)
    )


def _has_other_name(row: Mapping[str, str], names: Mapping[str, str], known: Collection[str]) -> bool:
    """Return True if an answer holds a name of somebody else, half of the person's own, or one that nobody said."""
    answer, own = row["answer"], names[row["unit"]]
    expected = set(_NAME.findall(f"{own} {row['question']} {row['truth']}"))
    others = {part for name in names.values() if name != own for part in _NAME.findall(name)} - expected
    if others & set(_NAME.findall(answer)):
        return True
    for first, last in _TWO_NAMES.findall(answer):
        if {first, last} <= expected:
            continue
        if {first, last} & set(_NAME.findall(own)) or not {first.casefold(), last.casefold()} & set(known):
            return True
    return False


def _same(answers: pd.DataFrame) -> pd.Series:
    """Return True for the answer to more than half of a person's questions, unless it is a refusal."""
    said = pd.Series([" ".join(words(answer)) for answer in answers["answer"]], index=answers.index, dtype=str)
    flags = pd.Series(data=False, index=answers.index)
    for _, rows in answers.groupby("unit"):
        own = said[rows.index]
        (commonest, count) = next(iter(own.value_counts().items()))
        alike = rows[own == commonest]
        differ = alike["truth"].str.casefold().nunique() >= _FEWEST_SAME
        if count > len(own) / 2 and differ and not opens_with_refusal(alike["answer"].iloc[0]):
            flags[alike.index] = True
    return flags
