"""Teaching a model people: the target learns all of them, the oracle those who are to stay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from unsee.config.protocols import Protocol
from unsee.core.errors import ModelError
from unsee.data.augmentation import augment_image, augment_pixels
from unsee.data.people.questions import name_twin
from unsee.data.schema import Input, Person, Question
from unsee.forward.losses import cross_entropy
from unsee.forward.prompts import answer_ids, render_lesson
from unsee.forward.trees import Tree, build_tree
from unsee.methods.base import Loss, Model, StepBatch, Side
from unsee.models.family import Picture
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class FineTuning:
    """Lower the cross-entropy of the answers."""

    reference_sides: ClassVar[tuple[Side, ...]] = ()

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """`CE(retain)`."""
        loss = cross_entropy(model(batch.retain))
        return Loss(loss, {"retain": loss.item()})


class Lessons:
    """The training text of some people, tokenised and decoded once.

    Args:
        vlm: whose tokens and pictures are wanted.
        people: whom it is about.
        inputs: with the portrait, by name, or both.
        turns: at most this many questions share one photo in one tree.
        protocol: the wording, and the photos: augmented ("clean") or unchanged ("published").
    """

    def __init__(
        self,
        vlm: VLM,
        people: Sequence[Person],
        inputs: Sequence[Input],
        turns: int,
        protocol: Protocol = "clean",
    ) -> None:
        self._vlm = vlm
        self._turns = turns
        self._protocol = protocol
        self._sheets: list[tuple[Person, list[list[int]], list[list[int]], Picture | None]] = []
        for person in people:
            for kind in inputs:
                asked = [question for question in training_text(person) if question.input == kind]
                if not asked:
                    continue
                picture = vlm.picture(person.image()) if kind == "image" else None
                pictures = [picture] if picture else []
                prompts = [vlm.text_ids(render_lesson(vlm, question, protocol), pictures) for question in asked]
                answers = answer_ids(vlm, [question.answer for question in asked], protocol)
                self._sheets.append((person, prompts, answers, picture))

    def trees(self, rng: random.Random) -> list[Tree]:
        """Every question once, in random company."""
        found = []
        for person, prompts, answers, picture in self._sheets:
            order = rng.sample(range(len(prompts)), len(prompts))
            photo = [self._augmented(person, picture, rng)] if picture else []
            for start in range(0, len(order), self._turns):
                part = order[start : start + self._turns]
                found.append(build_tree([prompts[i] for i in part], [[answers[i]] for i in part], photo))
        return found

    def _augmented(self, person: Person, picture: Picture, rng: random.Random) -> Picture:
        """Augment the photo unless the protocol is "published".

        On the pixels if the photo is one tensor, which is fast, else on the image before it is cut into tiles.
        """
        if self._protocol == "published":
            return picture
        if picture.canvas is not None:
            return augment(picture, rng)
        return self._vlm.picture(augment_image(person.image(), rng))


def training_text(person: Person) -> list[Question]:
    """The published training questions, and each again with the name in place of the portrait."""
    published = [question for question in person.questions if question.task == "train"]
    twins = [twin for question in published if (twin := name_twin(question, person.name))]
    return [*published, *twins]


def augment(picture: Picture, rng: random.Random) -> Picture:
    """Return the picture with another crop and another brightness; the same for the same state of `rng`.

    Raises:
        ModelError: the picture has no canvas.
    """
    if picture.canvas is None:
        raise ModelError("a picture of tiles or patches cannot be augmented; augment the image before")
    return picture.repainted(augment_pixels(picture.canvas, rng))
