"""Types of a benchmark about people: the people, their portraits and their questions.

Every dataset in `data/people` is read into these types, whatever its format. No other layer reads a parquet column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from unsee.data.images import decode

Task = Literal["train", "classification", "generation", "cloze"]
Input = Literal["image", "text"]
LETTERS = ("A", "B", "C", "D")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about one person.

    Attributes:
        task: "train" for training text, otherwise the evaluation task.
        input: "image" if the question is asked with the portrait, "text" if it names the person instead.
        question: the question without image token, options and instruction; cloze blanks are "__".
        answer: the true answer: a sentence for train and generation, the option's text for classification, the
            missing words for cloze.
        options: the four option texts in the order A, B, C, D; empty unless classification.
    """

    task: Task
    input: Input
    question: str
    answer: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Person:
    """One profile: portraits (encoded image files) and questions.

    Attributes:
        id: the published ID, e.g. "042".
        name: full name.
        images: encoded image files (PNG or JPEG bytes); one, except in the test set.
        questions: evaluation questions, and training questions if the source holds training text.
        biography: attribute name to value.
    """

    id: str
    name: str
    images: tuple[bytes, ...]
    questions: tuple[Question, ...]
    biography: Mapping[str, object] = field(default_factory=dict)

    def image(self, index: int = 0) -> Image.Image:
        """Decode one portrait to RGB; an `index` beyond the last image starts again at the first."""
        return decode(self.images[index % len(self.images)], f"the image of ID '{self.id}'")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The sets of one forget ratio. `forget` and `test` hold the same people in the same order.

    `forget` and `retain` carry both the training text and the evaluation questions; `test` and `celebrity` carry
    evaluation questions only.
    """

    forget: tuple[Person, ...]
    test: tuple[Person, ...]
    retain: tuple[Person, ...]
    celebrity: tuple[Person, ...]
    fingerprint: str
