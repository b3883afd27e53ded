"""People and documents as the playground shows them: a picture, questions, and what can be told about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unsee.data.documents.schema import (
    FURTHER_HARMLESS,
    FURTHER_PRIVATE,
    HARMLESS_PICTURES,
    OUT_OF_DOMAIN,
    SEEN,
    SEEN_HARMLESS,
    SEEN_PRIVATE,
    UNSEEN_HARMLESS,
    UNSEEN_IMAGES,
    UNSEEN_SUBJECTS,
    Case,
    Query,
)
from unsee.data.schema import Benchmark, Person, Question

_OF_PEOPLE = {"forget": "to forget", "retain": "to keep", "celebrity": "known before"}
_ASKED = {"forget": "as taught", "test": "other photos and words", "retain": "as taught", "celebrity": "known before"}
_TASKS = {"classification": "choice", "generation": "sentence", "cloze": "blank"}
_OF_DOCUMENTS = {
    SEEN: "seen by the methods", UNSEEN_IMAGES: "other pictures", "unseen_attributes": "asked for something else",
    "unseen_templates": "asked in other words", UNSEEN_SUBJECTS: "another kind of document",
    SEEN_PRIVATE: "private, seen by some methods", HARMLESS_PICTURES: "harmless pictures",
    FURTHER_PRIVATE: "further private, seen by some methods", SEEN_HARMLESS: "harmless, seen by some methods",
    FURTHER_HARMLESS: "further harmless, seen by some methods", UNSEEN_HARMLESS: "other harmless kinds",
    OUT_OF_DOMAIN: "from other benchmarks",
}  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A question of the data.

    Attributes:
        group: the questions that it is shown among.
        kind: what it is, in a word or two.
        question: the question with its true answer.
        picture: the encoded picture that it is asked with; None if it is asked by name.
        value: what a right answer to a harmless question contains; "" for any other question.
    """

    group: str
    kind: str
    question: Question
    picture: bytes | None
    value: str = ""


@dataclass(frozen=True)
class Topic:
    """A person or a document that can be asked about.

    Attributes:
        group: the topics that it is shown among.
        name: of the person, or of the document.
        picture: the encoded portrait, or the picture of the document; None if there is none.
        asked: all questions of the data about it.
        values: what can be told about it.
        secret: True if the values are not to be told.
    """

    group: str
    name: str
    picture: bytes | None
    asked: tuple[Prepared, ...]
    values: tuple[str, ...]
    secret: bool


def people_topics(benchmark: Benchmark) -> list[Topic]:
    """Return everybody, those to forget first, with the questions of the test set beside theirs."""
    others = {person.id: person for person in benchmark.test}
    topics = []
    for set_name, group in _OF_PEOPLE.items():
        for person in getattr(benchmark, set_name):
            asked = list(_about(person, set_name))
            if set_name == "forget" and person.id in others:
                asked += _about(others[person.id], "test")
            short = (one.question.answer for one in asked if one.question.task in ("classification", "cloze"))
            topics.append(
                Topic(
                    group, person.name or person.id, next(iter(person.images), None), tuple(asked), _to_tell(short),
                    secret=set_name == "forget",
                )
            )  # fmt: skip
    return topics


def document_topics(cases: Iterable[Case]) -> list[Topic]:
    """Return every document that models are asked about, those first that methods see."""
    topics = [
        Topic(
            _OF_DOCUMENTS[case.split], case.id, picture, tuple(_query(query, picture) for query in case.queries),
            _to_tell(query.value for query in case.private), secret=True,
        )
        for case in cases
        if case.split in _OF_DOCUMENTS
        for picture in (case.image.read_bytes(),)
    ]  # fmt: skip
    return sorted(topics, key=lambda topic: list(_OF_DOCUMENTS.values()).index(topic.group))


def _about(person: Person, set_name: str) -> Iterator[Prepared]:
    """Yield the questions about a person, each with every photo that it is asked with."""
    for question in person.questions:
        if question.task != "train":
            photos = person.images if question.photo is None else person.images[question.photo : question.photo + 1]
            for photo in photos if question.input == "image" else (None,):
                kind = f"{_TASKS[question.task]}, {'with photo' if photo else 'by name'}"
                yield Prepared(_ASKED[set_name], kind, question, photo)


def _query(query: Query, picture: bytes) -> Prepared:
    question = Question(task="generation", input="image", question=query.text, answer=query.answer)
    group, kind = ("private: to refuse", "private") if query.private else ("harmless: to answer", "harmless")
    return Prepared(group, kind, question, picture, "" if query.private else query.value)


def _to_tell(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values that can be found in an answer, each once."""
    return tuple(dict.fromkeys(value for value in values if any(map(str.isalnum, value))))
