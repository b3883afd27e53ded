"""People to forget and to keep as privacy pairs: refuse what is private about some, go on talking of the rest."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle

from unsee.data.documents.invented import REFUSAL_PREFIXES
from unsee.data.pairs import PrivacyPair
from unsee.data.people.questions import looks_asked, mention, name_twin
from unsee.data.schema import Input, Person, Question

CATEGORY = "people"


def people_pairs(
    forget: Sequence[Person], retain: Sequence[Person], inputs: Sequence[Input], seed: int
) -> list[PrivacyPair]:
    """One case for each person and input, with the portrait or by name.

    What training text says of the people to forget is to be refused; of their looks, which the portrait itself shows,
    the model goes on talking, as it does of as many people to keep.

    Args:
        forget: the people of whom everything but their looks is private.
        retain: the others.
        inputs: how they are asked about.
        seed: of the refusals, and of which of the others are taken.
    """
    rng = random.Random(f"people pairs {seed}")
    refusals = cycle(REFUSAL_PREFIXES)
    kept = rng.sample(list(retain), min(len(forget), len(retain)))
    pairs: list[PrivacyPair] = []
    for person in forget:
        for kind in inputs:
            pairs += _private(person, kind, next(refusals))
    for person in kept:
        for kind in inputs:
            pairs += _kept(person, kind)
    return pairs


def _private(person: Person, kind: Input, refusal: str) -> Iterator[PrivacyPair]:
    """Everything told of somebody, each beside a question about the looks where there is a portrait."""
    asked = [(question.question, who) for question, who in _taught(person, kind)]
    looks = looks_asked(asked[0][1]) if kind == "image" and asked else []
    for index, (question, who) in enumerate(asked):
        look = looks[index] if index < len(looks) else ""
        yield _pair(person, kind, who, refusal, sensitive=question, benign=look if who in look else "")


def _kept(person: Person, kind: Input) -> Iterator[PrivacyPair]:
    for question, who in _taught(person, kind):
        yield _pair(person, kind, who, REFUSAL_PREFIXES[0], benign=question.question, benign_answer=question.answer)


def _taught(person: Person, kind: Input) -> Iterator[tuple[Question, str]]:
    """The training questions of one input, and how each mentions the person."""
    for question in person.questions:
        if question.task != "train":
            continue
        asked = question if question.input == kind else name_twin(question, person.name) if kind == "text" else None
        who = person.name if kind == "text" else mention(question.question)
        if asked and who and who in asked.question:
            yield asked, who


def _pair(
    person: Person, kind: Input, who: str, refusal: str, *, sensitive: str = "", benign: str = "",
    benign_answer: str | None = None,
) -> PrivacyPair:  # fmt: skip
    return PrivacyPair(
        image=person.images[0] if kind == "image" else None, subject=who, sensitive=sensitive, benign=benign,
        refusal=refusal, benign_answer=benign_answer, category=CATEGORY, case=f"{person.id}/{kind}",
    )  # fmt: skip
