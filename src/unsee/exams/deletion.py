"""The exam of a deletion request: every row, and every other way to ask for the same fact.

A row to forget is asked with the photo and by name, as it is written and in other words; training sees these. It is
asked again with a disturbed copy of the photo and in words that training does not see. The same questions about
strangers, who are invented, show how often the model would guess a value, and one of them stands in for the person when
the model unlearns. Rows to keep are asked as they are written
and by name.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import pandas as pd

from unsee.config.recipe import EvaluationConfig
from unsee.core.record import LEAK, STRANGER_SET
from unsee.data.augmentation import augment_with_noise
from unsee.data.deletion import Fact, Request
from unsee.data.general import GeneralItem
from unsee.data.images import decode, encode_png
from unsee.data.people.questions import name_twin
from unsee.data.people.rewordings import about, photo_twin, rewordings
from unsee.data.people.strangers import NUM_STRANGERS, invent_strangers
from unsee.data.schema import Benchmark, Input, Person, Question
from unsee.exams.people import Exam
from unsee.metrics.base import Metric
from unsee.models.vlm import VLM
from unsee.runtime.cache import key_of
from unsee.scoring.values_given import value_words

_HELD_OUT = 2  # wordings of each question that training does not see; it sees as many others


INPUTS: tuple[Input, ...] = get_args(Input)


class DeletionExam:
    """The questions of a deletion request.

    Args:
        vlm: its processor prepares the photos.
        request: the rows.
        general: questions unrelated to the people.
        config: the settings of the evaluation; answers may be as long as the longest in the rows.
        metrics: the metrics of an answer by name.
    """

    def __init__(
        self,
        vlm: VLM,
        request: Request,
        general: Sequence[GeneralItem],
        config: EvaluationConfig,
        metrics: dict[str, Metric],
    ) -> None:
        facts = (*request.forget_facts, *request.retain_facts)
        longest = max(map(len, vlm.answer_ids([fact.answer for fact in facts])))
        settings = config.model_copy(update={"max_new_tokens": max(longest, config.max_new_tokens)})
        self._request = request
        self._photos = {fact.person: fact.photo for fact in reversed(request.forget_facts) if fact.photo}
        photos = [fact.photo or self._photos.get(fact.person) for fact in request.forget_facts]
        self._forget = [_seen(fact, photo) for fact, photo in zip(request.forget_facts, photos, strict=True)]
        self._other = [_held_out(fact, photo) for fact, photo in zip(request.forget_facts, photos, strict=True)]
        self._retain = [_as_written(fact) for fact in request.retain_facts]
        people = [("forget", person) for person in self._forget] + [("test", person) for person in self._other]
        self._asked = [
            (item, person.name, question) for set_name, person in people for item, question in _items(set_name, person)
        ]
        strangers = invent_strangers(NUM_STRANGERS, [fact.name for fact in facts])
        self._strangers = [replace(one, questions=()) for one in strangers]
        self._about = list(_about(self._strangers, [(name, question) for _, name, question in self._asked]))
        self._like = {one.id: [_cell(self._asked[place][0]) for place in places] for one, places in self._about}
        self._written = {
            _cell(item)
            for fact, photo, person in zip(request.forget_facts, photos, self._forget, strict=True)
            for item, _ in itertools.islice(_items("forget", person), _Forms.of(fact, photo).count)
        }
        sets = self._forget, self._other, self._retain
        strange = [person for person, _ in self._about]
        self.before = Exam(vlm, _benchmark(*sets, strange), general, settings, metrics=metrics)
        """All questions, also those about strangers."""
        self.after = Exam(vlm, _benchmark(*sets, ()), general, settings, metrics=metrics)
        """All questions except those about strangers."""
        self.about_forgotten = self.after.only(
            {(name, "generation", kind) for name in ("forget", "test") for kind in INPUTS}
        )
        """The questions about the people to forget."""

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """The words of the value of each row, as `with_values` wants them."""
        sides = {"forget": self._request.forget_facts, "retain": self._request.retain_facts}
        return {
            f"{side}/{_identity(fact)}": value_words(f"{fact.question} {fact.name}", fact.answer)
            for side, facts in sides.items()
            for fact in facts
        }

    @property
    def people(self) -> list[Person]:
        """Everybody whom questions in the words of a row are about: one for each row to forget, and the strangers."""
        return [*self._forget, *(person for person, _ in self._about)]

    @property
    def names(self) -> dict[str, str]:
        """The names of everybody in the request, by their number, and of the strangers."""
        facts = (*self._request.forget_facts, *self._request.retain_facts)
        return {f"{fact.person:03}": fact.name for fact in facts} | {one.id: one.name for one in self._strangers}

    def training_people(
        self, before: pd.DataFrame, given: pd.DataFrame
    ) -> tuple[list[Person], list[Person], dict[str, Person]]:
        """Return the people to forget and those to keep with their training text, and who stands in for the former.

        To forget are the rows and, as a model answers in words of its own, each of its answers that gives a value. To
        keep is what the model says, or the row where that lacks the value.

        Args:
            before: the answers before unlearning, with the columns that `with_values` adds.
            given: in how many ways each stranger gets the value of each row (`given_to_strangers`).

        Returns:
            People to forget, people to keep, and the stranger for each ID of the former.
        """
        answers, stand_ins = before.set_index("item"), self._stand_ins(given)
        forget, retain = _TrainingText(), _TrainingText()
        for fact, seen in zip(self._request.forget_facts, self._forget, strict=True):
            for item, question in _items("forget", seen):
                own = [answers.at[item, "answer"]] if answers.at[item, LEAK] > 0 else []
                photo, stranger = self._photos.get(fact.person), stand_ins[_identity(fact)]
                forget.add(fact, question, photo, [question.answer, *own], stranger)
        for fact, written in zip(self._request.retain_facts, self._retain, strict=True):
            for item, question in _items("retain", written):
                whole = answers.at[item, LEAK] == 1
                retain.add(fact, question, None, [answers.at[item, "answer"] if whole else question.answer])
        strange = {person.id: person for person in self._strangers}
        asked = forget.people()
        kept = [person for person, _ in retain.people()]
        return [person for person, _ in asked], kept, {person.id: strange[stranger] for person, stranger in asked}

    def _stand_ins(self, given: pd.DataFrame) -> dict[str, str]:
        """Return the stranger who stands in for the person of each row to forget.

        For each human being it is the stranger who gets the fewest of the values, if possible one who stands in for
        nobody else; in a row whose value that stranger gets, the next one who does not get it.
        """
        rows = [_identity(fact) for fact in self._request.forget_facts]
        everybody = [person.id for person in self._strangers]
        given = given.reindex(index=rows, columns=everybody, fill_value=0)
        chosen: dict[str, str] = {}
        taken = dict.fromkeys(everybody, 0)
        for _, own in given.groupby(given.index.str[:3]):
            best = sorted(everybody, key=lambda one: (own[one].sum(), taken[one]))
            taken[best[0]] += 1
            chosen |= own[best].idxmin(axis=1).to_dict()  # the first of equals
        return chosen

    def named(self, answers: pd.DataFrame) -> pd.DataFrame:
        """Return the answers with strangers in a set of their own, by the item that they are asked like as `unit`."""
        strange = answers["set"] == "celebrity"
        like = [
            self._asked_like(item) if is_strange else unit
            for item, unit, is_strange in zip(answers["item"], answers["unit"], strange, strict=True)
        ]
        return answers.assign(set=answers["set"].mask(strange, STRANGER_SET), unit=like)

    def row_of(self, item: str) -> str:
        """Return the row, "001-0003", of an item about somebody to forget, or of the one that a stranger gets."""
        like = self._asked_like(item) if item.startswith("celebrity/") else item
        return like.split("/")[1]

    def as_written(self, item: str) -> bool:
        """Return True for an item in the words of its row, with the photo or by name; also for that of a stranger."""
        like = self._asked_like(item) if item.startswith("celebrity/") else _cell(item)
        return like in self._written

    def _asked_like(self, item: str) -> str:
        """Return the item, without the number of the photo, that an item about a stranger is asked like."""
        _, stranger, number = item.split("/")[:3]
        return self._like[stranger][int(number.partition("-")[0])]


def _benchmark(
    forget: Sequence[Person], test: Sequence[Person], retain: Sequence[Person], strange: Sequence[Person]
) -> Benchmark:
    """Return the sets of an exam; the fingerprint covers every question and every photo."""
    everybody = [
        [
            person.id,
            [hashlib.sha256(image).hexdigest() for image in person.images],
            [q.content() for q in person.questions],
        ]
        for people in (forget, test, retain, strange)
        for person in people
    ]
    return Benchmark(
        forget=tuple(forget), test=tuple(test), retain=tuple(retain), celebrity=tuple(strange),
        fingerprint=key_of("deletion", everybody),
    )  # fmt: skip


def _cell(item: str) -> str:
    """Return the ID of an item without the number of the photo."""
    return "/".join(item.split("/")[:3])


def _identity(fact: Fact) -> str:
    """Return the ID of a row: the number of the human being and the line."""
    return f"{fact.person:03}-{fact.line:04}"


def _question(kind: Input, question: str, answer: str) -> Question:
    return Question(task="generation", input=kind, question=question, answer=answer)


def _as_written(fact: Fact) -> Person:
    """Return the question of a row to keep, and the same question by name if the row has a photo."""
    asked = _Forms.of(fact, fact.photo).questions(slice(0))
    return Person(id=_identity(fact), name=fact.name, images=_images(fact.photo), questions=asked)


def _seen(fact: Fact, photo: bytes | None) -> Person:
    """Return the ways to ask for a fact that training sees: with the photo and by name, as written and in other words.

    Args:
        fact: the row.
        photo: a photo of the human being, from any row.
    """
    asked = _Forms.of(fact, photo).questions(slice(_HELD_OUT, None))
    return Person(id=_identity(fact), name=fact.name, images=_images(photo), questions=asked)


def _held_out(fact: Fact, photo: bytes | None) -> Person:
    """Return ways to ask for a fact that training does not see: with a disturbed photo, and in other words again.

    Args:
        fact: the row.
        photo: a photo of the human being, from any row.
    """
    forms = _Forms.of(fact, photo)
    asked = [one for one in forms.questions(slice(_HELD_OUT)) if one.input == "image" or one.question != forms.by_name]
    images = _images(photo and _disturbed(photo, _identity(fact)))
    return Person(id=_identity(fact), name=fact.name, images=images, questions=tuple(asked))


@dataclass(frozen=True)
class _Forms:
    """One fact, asked with a photo and by name; None where it cannot be asked so.

    Attributes:
        fact: the row.
        shown: the question with a photo.
        by_name: the question by name.
        named_answer: the true answer to the question by name.
    """

    fact: Fact
    shown: str | None
    by_name: str | None
    named_answer: str

    @classmethod
    def of(cls, fact: Fact, photo: bytes | None) -> _Forms:
        """Return both forms of a fact; without a photo, that by name."""
        if not fact.photo:
            shown = photo_twin(fact.question, fact.name) if photo else None
            return cls(fact, shown, fact.question, fact.answer)
        twin = name_twin(_question("image", fact.question, fact.answer), fact.name)
        return cls(fact, fact.question, twin.question if twin else None, twin.answer if twin else fact.answer)

    @property
    def count(self) -> int:
        """The number of forms: 1 or 2."""
        return sum(form is not None for form in (self.shown, self.by_name))

    def questions(self, reworded: slice) -> tuple[Question, ...]:
        """Return the questions: the form of the row first, then the other, then some rewordings of each."""
        forms: list[tuple[Input, str | None, str]] = [
            ("image", self.shown, self.fact.answer), ("text", self.by_name, self.named_answer),
        ]  # fmt: skip
        ordered = [(kind, text, answer) for kind, text, answer in forms if text]
        if not self.fact.photo:
            ordered.reverse()
        asked = [_question(kind, text, answer) for kind, text, answer in ordered]
        for kind, text, answer in ordered:
            others = rewordings(text, self.fact.name, 2 * _HELD_OUT)[reworded]
            asked += [_question(kind, other, answer) for other in others]
        return tuple(asked)


def _images(photo: bytes | None) -> tuple[bytes, ...]:
    return (photo,) if photo else ()


def _disturbed(photo: bytes, seed: str) -> bytes:
    """Return another crop of the photo in other light, with noise."""
    image = decode(photo, f"the photo of row {seed}")
    return encode_png(augment_with_noise(image, random.Random(f"disturbed {seed}")))


def _items(set_name: str, person: Person) -> Iterator[tuple[str, Question]]:
    """Yield the ID that each question of a person has in the exam, and the question."""
    for index, question in enumerate(person.questions):
        photo = "/0" if question.input == "image" else ""
        yield f"{set_name}/{person.id}/{index:02}-{question.task}-{question.input}{photo}", question


def _about(people: Sequence[Person], asked: Sequence[tuple[str, Question]]) -> Iterator[tuple[Person, list[int]]]:
    """Yield strangers with the questions in which they take a person's place, and the places of these questions.

    Args:
        people: the strangers.
        asked: the name of the person and the question.
    """
    for stranger in people:
        questions, places = [], []
        for place, (name, question) in enumerate(asked):
            text = about(question.question, name, stranger.name)
            if text or question.input == "image":
                questions.append(replace(question, question=text or question.question))
                places.append(place)
        if questions:
            yield replace(stranger, questions=tuple(questions)), places


@dataclass
class _TrainingText:
    """The training text of one side, by human being, photo and stand-in."""

    names: dict[int, str] = field(default_factory=dict)
    asked: dict[tuple[int, bytes | None, str], dict[Question, None]] = field(default_factory=dict)

    def add(
        self, fact: Fact, question: Question, photo: bytes | None, answers: Sequence[str], stand_in: str = ""
    ) -> None:
        """Add the answers to one question about a fact; `photo` serves if the fact has none."""
        image = (fact.photo or photo) if question.input == "image" else None
        texts = self.asked.setdefault((fact.person, image, stand_in), {})
        texts.update(dict.fromkeys(replace(question, task="train", answer=answer) for answer in answers if answer))
        self.names.setdefault(fact.person, fact.name)

    def people(self) -> list[tuple[Person, str]]:
        """Return one person for each photo, and one for the questions by name that no question with a photo implies.

        Each comes with the stand-in. Rows with different ones are different people.
        """
        implied = {
            (number, name_twin(question, self.names[number]))
            for (number, image, _), texts in self.asked.items()
            for question in texts
            if image
        }
        found = []
        for index, ((number, image, stand_in), texts) in enumerate(self.asked.items()):
            kept = tuple(question for question in texts if image or (number, question) not in implied)
            if kept:
                images = (image,) if image else ()
                person = Person(id=f"{number:03}-{index + 1}", name=self.names[number], images=images, questions=kept)
                found.append((person, stand_in))
        return found
