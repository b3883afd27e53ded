"""The exam of a deletion request: every row, and every other way to ask for the same fact.

A row to forget is asked as it is written, by name instead of with the photo, with the photo instead of by name, in
other words, and with a disturbed copy of the photo. The same questions about invented strangers show how often the
model would guess a value. Rows to keep are asked as they are written, and by name.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import pandas as pd

from unsee.config.recipe import EvaluationConfig
from unsee.core.record import STRANGER_SET
from unsee.data.augmentation import augment_with_noise
from unsee.data.deletion import Fact, Request
from unsee.data.general import GeneralItem
from unsee.data.images import decode, encode_png
from unsee.data.people.portraits import draw_portrait, draw_scene
from unsee.data.people.profiles import strangers
from unsee.data.people.questions import name_twin
from unsee.data.people.rewordings import about, photo_twin, rewordings
from unsee.data.schema import Benchmark, Input, Person, Question
from unsee.exams.people import Exam
from unsee.metrics.base import Metric
from unsee.models.vlm import VLM
from unsee.runtime.cache import key_of

NUM_STRANGERS = 10
"""Strangers who are asked about: with ten, a value that one in five of them gets is found nine times out of ten."""
_OTHER_WORDS = 2  # other wordings of each question
_PORTRAIT_PIXELS = 96
_TRIES = 4  # strangers drawn for each one wanted, as some share a name with somebody in the request


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
        photos = {fact.person: fact.photo for fact in reversed(request.forget_facts) if fact.photo}
        forget = [_as_written(fact) for fact in request.forget_facts]
        other = [_otherwise(fact, photos.get(fact.person)) for fact in request.forget_facts]
        people = [("forget", person) for person in forget] + [("test", person) for person in other]
        self._asked = [
            (f"{set_name}/{person.id}/{index:02}-{question.task}-{question.input}", person.name, question)
            for set_name, person in people
            for index, question in enumerate(person.questions)
        ]
        self._about = list(_about_strangers([(name, question) for _, name, question in self._asked], facts))
        kept, strange = tuple(map(_as_written, request.retain_facts)), tuple(person for person, _ in self._about)
        self.before = Exam(vlm, _benchmark(forget, other, kept, strange), general, settings, metrics=metrics)
        """All questions, also those about strangers."""
        self.after = Exam(vlm, _benchmark(forget, other, kept, ()), general, settings, metrics=metrics)
        """All questions except those about strangers."""

    def named(self, answers: pd.DataFrame) -> pd.DataFrame:
        """Return the answers with strangers in a set of their own, by the item that they are asked like as `unit`."""
        strange = answers["set"] == "celebrity"
        items = {person.id: [self._asked[place][0] for place in places] for person, places in self._about}
        parts = answers["item"].str.split("/")
        like = [
            items[part[1]][int(part[2].partition("-")[0])] if is_strange else unit
            for part, unit, is_strange in zip(parts, answers["unit"], strange, strict=True)
        ]
        return answers.assign(set=answers["set"].mask(strange, STRANGER_SET), unit=like)


def _benchmark(
    forget: Sequence[Person], test: Sequence[Person], retain: Sequence[Person], strange: Sequence[Person]
) -> Benchmark:
    """Return the sets of an exam; the fingerprint covers every question and every photo."""
    everybody = [
        [
            person.id,
            [hashlib.sha256(image).hexdigest() for image in person.images],
            [asdict(q) for q in person.questions],
        ]
        for people in (forget, test, retain, strange)
        for person in people
    ]
    sets = {"forget": tuple(forget), "test": tuple(test), "retain": tuple(retain), "celebrity": tuple(strange)}
    return Benchmark(**sets, fingerprint=key_of("deletion", everybody))


def _identity(fact: Fact) -> str:
    """Return the ID of a row: the number of the human being and the line."""
    return f"{fact.person:03}-{fact.line:04}"


def _question(kind: Input, question: str, answer: str) -> Question:
    return Question(task="generation", input=kind, question=question, answer=answer)


def _as_written(fact: Fact) -> Person:
    """Return the question of a row, and the same question by name if the row has a photo."""
    question = _question("image" if fact.photo else "text", fact.question, fact.answer)
    twin = name_twin(question, fact.name)
    images = (fact.photo,) if fact.photo else ()
    return Person(
        id=_identity(fact), name=fact.name, images=images, questions=(question, *([twin] if twin else []))
    )  # fmt: skip


def _otherwise(fact: Fact, photo: bytes | None) -> Person:
    """Return the other ways to ask for a fact.

    Args:
        fact: the row.
        photo: a photo of the human being, from any row.
    """
    written = _question("image" if fact.photo else "text", fact.question, fact.answer)
    twin = written if written.input == "text" else name_twin(written, fact.name)
    shown = fact.question if fact.photo else photo_twin(fact.question, fact.name)
    asked: list[Question] = []
    if shown and fact.photo:
        asked += [_question("image", text, fact.answer) for text in (shown, *_reworded(shown, fact))]
    elif shown and photo:
        asked.append(_question("image", shown, fact.answer))
    if twin:
        asked += [_question("text", text, fact.answer) for text in _reworded(twin.question, fact)]
    picture = fact.photo or photo
    images = (_disturbed(picture, _identity(fact)),) if picture else ()
    return Person(id=_identity(fact), name=fact.name, images=images, questions=tuple(asked))


def _reworded(question: str, fact: Fact) -> list[str]:
    return rewordings(question, fact.name, _OTHER_WORDS)


def _disturbed(photo: bytes, seed: str) -> bytes:
    """Return another crop of the photo in other light, with noise."""
    image = decode(photo, f"the photo of row {seed}")
    return encode_png(augment_with_noise(image, random.Random(f"disturbed {seed}")))


def _about_strangers(
    asked: Sequence[tuple[str, Question]], facts: Sequence[Fact]
) -> Iterator[tuple[Person, list[int]]]:
    """Yield strangers with the questions in which they take a person's place, and the places of these questions.

    Args:
        asked: the name of the person and the question.
        facts: all rows; no stranger has a name or part of a name that occurs in them.
    """
    taken = {part for fact in facts for part in fact.name.casefold().split()}
    drawn = strangers(_TRIES * NUM_STRANGERS, 0)
    free = [one for one in drawn if not taken & set(one.name.casefold().split())][:NUM_STRANGERS]
    for number, stranger in enumerate(free):
        scene = draw_scene(random.Random(stranger.id))
        portrait = encode_png(draw_portrait(stranger.look, scene, _PORTRAIT_PIXELS))
        questions, places = [], []
        for place, (name, question) in enumerate(asked):
            text = about(question.question, name, stranger.name)
            if text or question.input == "image":
                questions.append(replace(question, question=text or question.question))
                places.append(place)
        if questions:
            yield Person(
                id=f"s{number:02}", name=stranger.name, images=(portrait,), questions=tuple(questions)
            ), places  # fmt: skip
