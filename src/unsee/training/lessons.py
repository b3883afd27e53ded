"""The training text of people as token trees: the target learns all people, the oracle those to keep."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unsee.config.protocols import Protocol
from unsee.core.errors import DataError, ModelError
from unsee.data.augmentation import augment_image, augment_pixels
from unsee.data.documents.invented import REFUSALS
from unsee.data.people.questions import by_photo, training_text
from unsee.data.people.rewordings import about
from unsee.data.schema import Input, Person, Question
from unsee.forward.losses import cross_entropy
from unsee.forward.prompts import lesson_answer_ids, render_lesson
from unsee.forward.trees import Tree, build_tree
from unsee.methods.base import IN_PLACE, Loss, LossMethod, Model, NonNegativeInt, PositiveFloat, Side, StepBatch
from unsee.models.family import Picture
from unsee.models.vlm import VLM


@dataclass(frozen=True, kw_only=True)
class FineTuning(LossMethod):
    """Lower the cross-entropy of the answers."""

    learning_rate: PositiveFloat = 1e-4
    steps: NonNegativeInt = 1

    @property
    def sides(self) -> tuple[Side, ...]:
        """The retain side alone."""
        return ("retain",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `CE(retain)`."""
        loss = cross_entropy(model(batch.retain))
        return Loss(loss, {"retain": loss.item()})


@dataclass(frozen=True)
class _Lesson:
    """The tokenised questions and answers of one person, all with one photo or all by name."""

    person: Person
    questions: list[Question]
    prompts: list[list[int]]
    answers: list[list[int]]
    picture: Picture | None

    @property
    def photo(self) -> int:
        """The number of the photo."""
        return self.questions[0].photo or 0


class Lessons:
    """The training text of some people, tokenised and decoded once.

    Args:
        vlm: the model, whose tokenizer, template and image processor are used.
        people: the people in the text.
        inputs: with the portrait, by name, or both.
        turns: at most this many questions share one photo in one tree.
        protocol: the wording, and the photos: augmented ("clean") or unchanged ("published").
        variants: the number of ways in which the rows of a person with one photo are drawn; 0 draws anew each time.
        sides: the trees of a row, aligned answer by answer (see `unsee.methods.base.Side`).
        others: the people who replace the person of a row: on a swapped side one drawn anew for each row, on the side
            "stand_in" the same one in all rows about that person.
        stand_ins: by the ID of a person, the one who always does, on either side.
        seed: of who stands in for whom.

    Raises:
        DataError: one of these sides is wanted, `others` is empty, and somebody has no stand-in.
    """

    def __init__(
        self,
        vlm: VLM,
        people: Sequence[Person],
        inputs: Sequence[Input],
        turns: int,
        protocol: Protocol = "clean",
        *,
        variants: int = 0,
        sides: tuple[Side, ...] = ("retain",),
        others: Sequence[Person] = (),
        stand_ins: Mapping[str, Person] | None = None,
        seed: str = "",
    ) -> None:
        self._stand_ins = stand_ins or {}
        if set(IN_PLACE) & set(sides) and not others and any(person.id not in self._stand_ins for person in people):
            raise DataError(
                "this method asks about people to keep in place of those to forget, and nobody is to be kept"
            )
        self._vlm = vlm
        self._turns = turns
        self._protocol = protocol
        self._variants = variants
        self._sides = sides
        self._others = others
        self._seed = seed
        self._pictures: dict[tuple[str, int], Picture] = {}
        self._swapped: dict[tuple[int, str], _Lesson] = {}
        self._refusals = lesson_answer_ids(vlm, REFUSALS, protocol) if "refusal" in sides else []
        self._lessons: list[_Lesson] = []
        for person in people:
            taught = training_text(person)
            for kind in inputs:
                for asked in by_photo([question for question in taught if question.input == kind]):
                    self._lessons.append(self._lesson(person, asked))

    def rows(self, rng: random.Random) -> list[tuple[Tree, ...]]:
        """Return rows with a tree for each side. They hold every question once, in random groups of `turns`."""
        extra = random.Random(
            repr(rng.getstate())
        )  # a second stream of draws, so that further sides do not change the forget side
        rows = []
        for number, lesson in enumerate(self._lessons):
            own = random.Random(f"{number} {rng.randrange(self._variants)}") if self._variants else rng
            order = own.sample(range(len(lesson.prompts)), len(lesson.prompts))
            photo = [self._augmented(lesson.person, lesson.photo, lesson.picture, own)] if lesson.picture else []
            for start in range(0, len(order), self._turns):
                part = order[start : start + self._turns]
                rows.append(tuple(self._tree(side, number, part, photo, extra) for side in self._sides))
        return rows

    def _tree(self, side: Side, number: int, part: Sequence[int], photo: Sequence[Picture], rng: random.Random) -> Tree:
        """Return the tree of one side for the questions `part` of lesson `number`."""
        lesson = self._lessons[number]
        if side in IN_PLACE:
            draws = random.Random(f"{self._seed} {lesson.person.id}") if side == "stand_in" else rng
            other = self._stand_ins.get(lesson.person.id) or self._drawn(lesson.person, draws)
            lesson = self._in_place(number, other)
            photo = [self._augmented(other, lesson.photo, lesson.picture, rng)] if lesson.picture else []
        answers = [rng.choice(self._refusals) if side == "refusal" else lesson.answers[i] for i in part]
        return build_tree([lesson.prompts[i] for i in part], [[answer] for answer in answers], photo)

    def _drawn(self, person: Person, rng: random.Random) -> Person:
        """Return somebody else, or the same person if there is nobody else."""
        return rng.choice([one for one in self._others if one.id != person.id] or list(self._others))

    def _lesson(self, person: Person, asked: list[Question]) -> _Lesson:
        picture = self._picture(person, asked[0].photo or 0) if asked[0].input == "image" else None
        pictures = [picture] if picture else []
        prompts = [self._vlm.text_ids(render_lesson(self._vlm, q, self._protocol), pictures) for q in asked]
        answers = lesson_answer_ids(self._vlm, [question.answer for question in asked], self._protocol)
        return _Lesson(person, asked, prompts, answers, picture)

    def _in_place(self, number: int, other: Person) -> _Lesson:
        """Return a lesson with another person's portrait, or with another name in its questions and answers."""
        if (number, other.id) not in self._swapped:
            lesson = self._lessons[number]
            asked = [
                question if question.input == "image" else _renamed(question, lesson.person.name, other.name)
                for question in lesson.questions
            ]
            self._swapped[number, other.id] = self._lesson(other, asked)
        return self._swapped[number, other.id]

    def _picture(self, person: Person, photo: int) -> Picture:
        if (person.id, photo) not in self._pictures:
            self._pictures[person.id, photo] = self._vlm.picture(person.image(photo))
        return self._pictures[person.id, photo]

    def _augmented(self, person: Person, photo: int, picture: Picture, rng: random.Random) -> Picture:
        """Augment the photo unless the protocol is "published".

        The pixels are augmented if the photo is one tensor, which is fast; else the image before it is cut into tiles.
        """
        if self._protocol == "published":
            return picture
        if picture.canvas is not None:
            return augment(picture, rng)
        return self._vlm.picture(augment_image(person.image(photo), rng))


def _renamed(question: Question, name: str, other: str) -> Question:
    """Return a question about somebody else; one that names nobody stays as it is."""
    asked, answer = (about(text, name, other) or text for text in (question.question, question.answer))
    return replace(question, question=asked, answer=answer)


def augment(picture: Picture, rng: random.Random) -> Picture:
    """Return the picture with another crop and another brightness; the same for the same state of `rng`.

    Raises:
        ModelError: the picture is cut into tiles or patches.
    """
    if picture.canvas is None:
        raise ModelError("a picture of tiles or patches cannot be augmented; augment the image before")
    return picture.repainted(augment_pixels(picture.canvas, rng))
