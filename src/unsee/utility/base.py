"""The interface of a utility benchmark, and functions that several benchmarks use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
from PIL import Image

from unsee.data.images import decode
from unsee.scoring.intervals import Bootstrap, Draws


@dataclass(frozen=True, kw_only=True)
class UtilityItem:
    """One question.

    Attributes:
        id: unique within the benchmark.
        unit: the group of dependent questions that is resampled as one for intervals; mostly all those about one image.
        group: subtask, subject or category.
        text: the whole user turn, without image placeholder.
        images: encoded image files, shown before the text in this order.
        truth: the correct answer, in the form of the benchmark.
        options: option texts in the order A, B, C; empty for an open question.
        context: a description of the images for a reviewing model, which does not see them.
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
        """Return the images decoded to RGB.

        Raises:
            DataError: an image cannot be decoded.
        """
        return [decode(encoded, f"{self.id}: its image") for encoded in self.images]


@dataclass(frozen=True)
class Mark:
    """The result of reading one answer.

    Attributes:
        read: the answer as read, such as a letter; "" if it cannot be read.
        value: 0 (wrong) to 1 (right).
        valid: False if the answer does not have the form that the benchmark asks for.
    """

    read: str
    value: float
    valid: bool


@dataclass(frozen=True, kw_only=True)
class UtilityBenchmark(ABC):
    """A published benchmark.

    Attributes:
        hub: the dataset on the hub from which `files` are fetched if no local folder is named; "" if there is none.
        files: patterns of the files to fetch.
        max_new_tokens: the largest number of tokens in an answer.
        review_version: the version of the chat in which a model grades the answers; it changes with every change of the
            wording. "" if the benchmark has its own metric and needs no review.
    """

    hub: ClassVar[str] = ""
    files: ClassVar[tuple[str, ...]] = ("*",)
    max_new_tokens: ClassVar[int] = 128
    review_version: ClassVar[str] = ""

    @abstractmethod
    def items(self, folder: Path) -> Iterable[UtilityItem]:
        """Return every question, read from a folder.

        Raises:
            DataError: the folder cannot be read; the message says which file.
        """

    @abstractmethod
    def mark(self, item: UtilityItem, answer: str) -> Mark:
        """Read one answer."""

    @abstractmethod
    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        """Return the published numbers over all resamples of the units, the best known number first.

        Args:
            bootstrap: resamples; its table of answers has `item`, `group`, `truth`, `read`, `value` and `valid`.
        """

    def review_chat(self, item: UtilityItem, answer: str) -> list[dict[str, str]]:
        """Return the chat that asks a model for grades; required with a `review_version`."""
        raise NotImplementedError

    def read_review(self, reply: str) -> tuple[int, int] | None:
        """Return the grades of reference and answer, or None if there are none; required with a `review_version`."""
        raise NotImplementedError


def mean(bootstrap: Bootstrap, rows: pd.DataFrame, value: str = "value") -> Draws:
    """Return the mean of a column over some rows of `bootstrap.answers`."""
    (draws,) = bootstrap.means(rows, value, by=["set"]).values()
    return draws


def by_group(bootstrap: Bootstrap, rows: pd.DataFrame, value: str = "value") -> dict[str, Draws]:
    """Return the mean of a column in each group, in the order in which the groups occur."""
    return {str(group): draws for (group,), draws in bootstrap.means(rows, value, by=["group"]).items()}


def lettered(options: Sequence[str], form: str = "{}. {}") -> str:
    """Return options with their letters, one per line."""
    return "\n".join(form.format(letter(index), option) for index, option in enumerate(options))


def letter(index: int) -> str:
    """Return the letter of an option: A for 0."""
    return chr(ord("A") + index)
