"""Teaching a model people: the target learns all of them, the oracle those who are to stay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image, ImageEnhance

from unsee.config.protocols import Protocol
from unsee.core.errors import ModelError
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
        protocol: the wording, and whether photos are disturbed ("clean") or shown as they are ("published").
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
            photo = [self._disturbed(person, picture, rng)] if picture else []
            for start in range(0, len(order), self._turns):
                part = order[start : start + self._turns]
                found.append(build_tree([prompts[i] for i in part], [[answers[i]] for i in part], photo))
        return found

    def _disturbed(self, person: Person, picture: Picture, rng: random.Random) -> Picture:
        """Unless as published: on the canvas where there is one, which is fast, or before the processor divides it."""
        if self._protocol == "published":
            return picture
        if picture.canvas is not None:
            return augment(picture, rng)
        return self._vlm.picture(disturb(person.image(), rng))


def training_text(person: Person) -> list[Question]:
    """The published training questions, and each again with the name in place of the portrait."""
    published = [question for question in person.questions if question.task == "train"]
    twins = [twin for question in published if (twin := name_twin(question, person.name))]
    return [*published, *twins]


def augment(picture: Picture, rng: random.Random) -> Picture:
    """The photo a little moved, zoomed and lit otherwise; the same for the same state of `rng`.

    Raises:
        ModelError: the picture has no canvas.
    """
    canvas_CHW = picture.canvas
    if canvas_CHW is None:
        raise ModelError("a picture of tiles or patches cannot be moved; disturb the image before")
    _, height, width = canvas_CHW.shape
    rows, columns, top, left = _crop(height, width, rng)
    crop = canvas_CHW[None, :, top : top + rows, left : left + columns]
    whole = torch.nn.functional.interpolate(crop, (height, width), mode="bilinear", align_corners=False)[0]
    return picture.repainted(whole * rng.uniform(0.9, 1.1))


def disturb(image: Image.Image, rng: random.Random) -> Image.Image:
    """The image, in its size, a little moved, zoomed and lit otherwise; the same for the same state of `rng`."""
    rows, columns, top, left = _crop(image.height, image.width, rng)
    moved = image.resize(image.size, Image.Resampling.BILINEAR, box=(left, top, left + columns, top + rows))
    return ImageEnhance.Brightness(moved).enhance(rng.uniform(0.9, 1.1))


def _crop(height: int, width: int, rng: random.Random) -> tuple[int, int, int, int]:
    """Rows, columns, top and left of a part that holds nearly everything."""
    share = rng.uniform(0.88, 1.0)
    rows, columns = round(height * share), round(width * share)
    return rows, columns, rng.randint(0, height - rows), rng.randint(0, width - columns)
