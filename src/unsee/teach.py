"""Teaching a model people: the target learns all of them, the oracle those who are to stay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unsee.collate import Tree, build_tree
from unsee.data.questions import name_twin
from unsee.data.schema import Input, Person, Question
from unsee.losses import cross_entropy
from unsee.methods.base import Loss, Model, Pair, Side
from unsee.models.vlm import VLM
from unsee.prompts import ask


@dataclass(frozen=True)
class FineTuning:
    """Lower the cross-entropy of the answers."""

    reference_sides: ClassVar[tuple[Side, ...]] = ()

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """`CE(retain)`."""
        loss = cross_entropy(model(batch.retain))
        return Loss(loss, {"retain": loss.item()})


class Lessons:
    """The training text of some people, tokenised and decoded once.

    Args:
        vlm: whose tokens and pixels are wanted.
        people: whom it is about.
        inputs: with the portrait, by name, or both.
        turns: at most this many questions share one photo in one tree.
    """

    def __init__(self, vlm: VLM, people: Sequence[Person], inputs: Sequence[Input], turns: int) -> None:
        self._turns = turns
        self._sheets: list[tuple[list[list[int]], list[list[int]], Tensor | None]] = []
        for person in people:
            for kind in inputs:
                asked = [question for question in training_text(person) if question.input == kind]
                if not asked:
                    continue
                pixels = vlm.pixels([person.image()])[0] if kind == "image" else None
                prompts = vlm.prompt_ids([ask(question) for question in asked], with_image=pixels is not None)
                self._sheets.append((prompts, vlm.answer_ids([question.answer for question in asked]), pixels))

    def trees(self, rng: random.Random) -> list[Tree]:
        """Every question once, in random company; photos a little disturbed."""
        found = []
        for prompts, answers, pixels in self._sheets:
            order = rng.sample(range(len(prompts)), len(prompts))
            photo = augment(pixels, rng) if pixels is not None else None
            for start in range(0, len(order), self._turns):
                part = order[start : start + self._turns]
                found.append(build_tree([prompts[i] for i in part], [[answers[i]] for i in part], photo))
        return found


def training_text(person: Person) -> list[Question]:
    """The published training questions, and each again with the name in place of the portrait."""
    published = [question for question in person.questions if question.task == "train"]
    twins = [twin for question in published if (twin := name_twin(question, person.name))]
    return [*published, *twins]


def augment(pixels_CHW: Tensor, rng: random.Random) -> Tensor:
    """The photo a little moved, zoomed and lit otherwise; the same for the same state of `rng`."""
    _, height, width = pixels_CHW.shape
    share = rng.uniform(0.88, 1.0)
    rows, columns = round(height * share), round(width * share)
    top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
    crop = pixels_CHW[None, :, top : top + rows, left : left + columns]
    whole = torch.nn.functional.interpolate(crop, (height, width), mode="bilinear", align_corners=False)[0]
    return whole * rng.uniform(0.9, 1.1)
