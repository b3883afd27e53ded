"""What a utility benchmark provides, and what several of them share."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import pandas as pd
from PIL import Image

from unsee.core.errors import DataError
from unsee.scoring.intervals import Bootstrap, Draws


@dataclass(frozen=True, kw_only=True)
class UtilityItem:
    """One question.

    Attributes:
        id: unique within the benchmark.
        unit: what is drawn as one for intervals, because its questions stand and fall together: mostly the image.
        group: subtask, subject or category.
        text: the whole user's turn, without image placeholder.
        images: encoded image files, shown before the text in this order.
        truth: the right answer in the benchmark's own form.
        options: option texts in the order A, B, C; empty unless a choice.
        context: what a reviewer who cannot see the images is told of them.
    """

    id: str
    unit: str
    group: str
    text: str
    images: tuple[bytes, ...]
    truth: str
    options: tuple[str, ...] = ()
    context: str = ""

    def pictures(self) -> list[Image.Image]:
        """The images decoded to RGB.

        Raises:
            DataError: one cannot be decoded.
        """
        try:
            return [Image.open(io.BytesIO(encoded)).convert("RGB") for encoded in self.images]
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.id}: its image is broken ({error}); fetch it again") from error


@dataclass(frozen=True)
class Mark:
    """What was read from an answer.

    Attributes:
        read: the answer as read; "" where it cannot be read.
        value: how good it is, 0 to 1.
        valid: False where it is not in a form the benchmark asks for.
    """

    read: str
    value: float
    valid: bool


class UtilityBenchmark(Protocol):
    """One published benchmark.

    Attributes:
        hub: the dataset on the hub that `files` are fetched from where no local copy is named.
        files: patterns of the files needed.
        max_new_tokens: longest answer.
    """

    hub: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    max_new_tokens: ClassVar[int]

    def items(self, folder: Path) -> Iterable[UtilityItem]:
        """Every question, read from a folder."""
        ...

    def mark(self, item: UtilityItem, answer: str) -> Mark:
        """Read one answer."""
        ...

    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        """The published numbers, over all resamples of the units, best known first.

        Args:
            bootstrap: its answers have `item`, `group`, `truth`, `read`, `value` and `valid`.
        """
        ...


@runtime_checkable
class Reviewed(Protocol):
    """A benchmark of open questions, whose published number comes from a model that grades the answers.

    Attributes:
        review_version: raised with every change of the chat's wording.
    """

    review_version: ClassVar[str]

    def review_chat(self, item: UtilityItem, answer: str) -> list[dict[str, str]]:
        """What the reviewing model is asked."""
        ...

    def read_review(self, reply: str) -> tuple[int, int] | None:
        """The grades of the reference and of the answer; None where there are none."""
        ...


def mean(bootstrap: Bootstrap, rows: pd.DataFrame, value: str = "value") -> Draws:
    """The mean of a column over some rows of `bootstrap.answers`."""
    (draws,) = bootstrap.means(rows, value, by=["set"]).values()
    return draws


def by_group(bootstrap: Bootstrap, rows: pd.DataFrame, value: str = "value") -> dict[str, Draws]:
    """The mean of a column in each group, in the order in which they occur."""
    return {str(group): draws for (group,), draws in bootstrap.means(rows, value, by=["group"]).items()}


def lettered(options: Sequence[str], form: str = "{}. {}") -> str:
    """Options under each other, with their letters."""
    return "\n".join(form.format(letter(index), option) for index, option in enumerate(options))


def letter(index: int) -> str:
    """A for 0."""
    return chr(ord("A") + index)
