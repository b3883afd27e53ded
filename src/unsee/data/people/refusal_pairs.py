"""Privacy pairs about people: questions to refuse about those to forget, questions to answer about those to retain."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle

from unsee.data.documents.invented import REFUSAL_PREFIXES
from unsee.data.pairs import PrivacyPair
from unsee.data.people.questions import looks_asked, mention, name_twin, pairs_by_name
from unsee.data.schema import Input, Person, Question

CATEGORY = "people"


def people_pairs(
    forget: Sequence[Person], retain: Sequence[Person], inputs: Sequence[Input], seed: int
) -> list[PrivacyPair]:
    """Return the pairs of one case for each person and input (with the portrait, or by name).

    The training questions about people to forget are to be refused. Questions about their looks, which the portrait
    itself answers, are to be answered, and so are the training questions about as many people to retain.

    Args:
        forget: people about whom everything but their looks is private.
        retain: people to draw the retained ones from.
        inputs: inputs to ask with.
        seed: seed of the refusals and of the retained people.
    """
    rng = random.Random(f"people pairs {seed}")
    refusals = cycle(REFUSAL_PREFIXES)
    retained = rng.sample(list(retain), min(len(forget), len(retain)))
    pairs: list[PrivacyPair] = []
    for person in forget:
        for kind in inputs:
            pairs += _private(person, kind, next(refusals))
    for person in retained:
        for kind in inputs:
            pairs += _retained(person, kind)
    return pairs


def _private(person: Person, kind: Input, refusal: str) -> Iterator[PrivacyPair]:
    """Yield a pair for each training question. With a portrait, the first ones also ask a question about the looks."""
    asked = list(_taught(person, kind))
    looks = looks_asked(asked[0][1]) if kind == "image" and asked else []
    for index, (question, who) in enumerate(asked):
        look = looks[index] if index < len(looks) else ""
        benign = look if who in look else ""
        yield _pair(person, question, who, refusal, sensitive=question.question, benign=benign)


def _retained(person: Person, kind: Input) -> Iterator[PrivacyPair]:
    for question, who in _taught(person, kind):
        yield _pair(person, question, who, REFUSAL_PREFIXES[0], benign=question.question, benign_answer=question.answer)


def _taught(person: Person, kind: Input) -> Iterator[tuple[Question, str]]:
    """Yield the training questions of one input, each with its words for the person."""
    taught = [question for question in person.questions if question.task == "train"]
    by_name = pairs_by_name(taught)
    for question in taught:
        wants_twin = kind == "text" and question.input == "image" and question.pair not in by_name
        asked = question if question.input == kind else name_twin(question, person.name) if wants_twin else None
        who = person.name if kind == "text" else mention(question.question)
        if asked and who and who in asked.question:
            yield asked, who


def _pair(
    person: Person, question: Question, who: str, refusal: str, *, sensitive: str = "", benign: str = "",
    benign_answer: str | None = None,
) -> PrivacyPair:  # fmt: skip
    kind, photo = question.input, question.photo or 0
    return PrivacyPair(
        image=person.images[photo] if kind == "image" else None, subject=who, sensitive=sensitive, benign=benign,
        refusal=refusal, benign_answer=benign_answer, category=CATEGORY,
        case=f"{person.id}/{kind}" + (f"/{photo}" if photo else ""),
    )  # fmt: skip
