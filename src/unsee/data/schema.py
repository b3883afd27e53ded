"""Types of a benchmark about people: the people, their portraits and their questions.

Every dataset in `data/people` is read into these types, whatever its format. No other layer reads a parquet column.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from unsee.data.images import decode

Task = Literal["train", "classification", "generation", "cloze", "instruction", "prose"]
Input = Literal["image", "text"]
LETTERS = ("A", "B", "C", "D")
"""The letters of four options, which most choices have; `letters` gives those of any number."""


def letters(options: Sequence[str]) -> str:
    """Return the letters of some options, in their order."""
    return string.ascii_uppercase[: len(options)]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about one person.

    Attributes:
        task: "train" for training text, otherwise the evaluation task; "instruction" and "prose" are of the general set
            alone.
        input: "image" if the question is asked with the portrait, "text" if it names the person instead.
        question: the question without image token, options and instruction; cloze blanks are "__".
        answer: the true answer: a sentence for train and generation, the option's text for classification, the
            missing words for cloze.
        options: the option texts in the order A, B, C and so on; empty unless classification.
        photo: the number of the photo that it is about; None if any photo of the person will do.
        paraphrase: the true answer in other words; "" if the benchmark has none.
        perturbed: false answers in the form of the true one; empty if the benchmark has none.
        keywords: the words that a right answer holds; empty if the benchmark has none.
        pair: equal for the two questions of a person that ask the same with the portrait and by name; "" for others.
    """

    task: Task
    input: Input
    question: str
    answer: str
    options: tuple[str, ...] = ()
    photo: int | None = None
    paraphrase: str = ""
    perturbed: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    pair: str = ""

    def content(self) -> dict[str, object]:
        """Return what training and examining depend on; what the question lacks is left out, so that keys stay."""
        always = {name: getattr(self, name) for name in ("task", "input", "question", "answer", "options")}
        optional = {name: getattr(self, name) for name in ("photo", "paraphrase", "perturbed", "keywords")}
        return always | {name: value for name, value in optional.items() if value not in (None, "", ())}


@dataclass(frozen=True, kw_only=True)
class Person:
    """One profile: portraits (encoded image files) and questions.

    Attributes:
        id: the published ID, e.g. "042".
        name: full name.
        images: encoded image files (PNG or JPEG bytes); one, except in the test set and where questions name theirs.
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
    evaluation questions only, and are empty if the data have none.

    Attributes:
        fingerprint: a hash of the content.
        notes: what the user is to know of the data: their licence, and one line for each reason why rows are left out.
    """

    forget: tuple[Person, ...]
    test: tuple[Person, ...]
    retain: tuple[Person, ...]
    celebrity: tuple[Person, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
