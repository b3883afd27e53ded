"""Splits what is known of a person into two halves that share no value: one to train on, one to ask about."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unsee.data.schema import Person, Question


@dataclass(frozen=True)
class Halves:
    """Two halves of what is known of some people.

    Attributes:
        taught: the people with the training text of one half.
        asked: for each person's ID, the questions of the exam about the other half.
    """

    taught: list[Person]
    asked: dict[str, frozenset[Question]]


def halves_of(people: Sequence[Person], seed: int) -> Halves:
    """Return one half of each person's training text, and the questions about the other half.

    The values are the answers to choices and blanks, or, where a person has none, all answers. Half of them, drawn at
    random, may not occur in the training text; the questions are those whose answers hold one of them and none that is
    taught. The name, which half of the text is about, is no such value.
    """
    taught, asked = [], {}
    for person in people:
        values = _values(person)
        hidden = set(random.Random(f"{seed}-halves-{person.id}").sample(values, (len(values) + 1) // 2))
        shown = set(values) - hidden
        lessons = tuple(
            q for q in person.questions if q.task == "train" and not _holds(f"{q.question} {q.answer}", hidden)
        )
        taught.append(replace(person, questions=lessons))
        asked[person.id] = frozenset(
            q for q in person.questions
            if q.task != "train" and _holds(q.answer, hidden) and not _holds(q.answer, shown)
        )  # fmt: skip
    return Halves(taught, asked)


def _values(person: Person) -> list[str]:
    """Return the distinct values of a person, sorted, so that a draw depends on the seed alone."""
    exam = [question for question in person.questions if question.task != "train"]
    short = [question for question in exam if question.task != "generation"] or exam
    return sorted({question.answer.casefold().strip(" .") for question in short} - {person.name.casefold(), ""})


def _holds(text: str, values: set[str]) -> bool:
    """Return True if a text holds one of the values as whole words."""
    folded = text.casefold()
    return any(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", folded) for value in values)
