"""What a utility benchmark provides, and how its files are read: with one sentence where they cannot be."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unsee.errors import DataError
from unsee.report.intervals import Bootstrap, Draws

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


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


class Benchmark(Protocol):
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


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: it is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        DataError: it is missing or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error


def read_json_lines(path: Path, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The objects of a file with one on each line.

    Args:
        path: the file.
        keys: what every object must hold.

    Raises:
        DataError: it is missing, or a line is no such object.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}") from error
        yield held(entry, keys, f"{path}, line {number}")


def read_rows(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of parquet files, one file in memory at a time.

    Raises:
        DataError: a file is not parquet or lacks a column.
    """
    for path in paths:
        try:
            rows = pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable parquet file ({error}); fetch it again") from error
        for row in rows:
            yield held(row, columns, str(path))


def held(entry: Any, keys: Sequence[str], where: str) -> dict[str, Any]:
    """The object itself, if it holds every key.

    Raises:
        DataError: it does not.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where}: not an object with {', '.join(keys)}")
    if missing := [key for key in keys if key not in entry]:
        raise DataError(f"{where}: no {', '.join(missing)} (found: {', '.join(entry)})")
    return entry


def read_image(folders: Iterable[Path], name: str) -> bytes:
    """The image file of this name, from the first folder that has it; without an ending any image does.

    Raises:
        DataError: no folder has it.
    """
    looked = list(folders)
    names = [name] if Path(name).suffix.lower() in IMAGE_ENDINGS else [name + ending for ending in IMAGE_ENDINGS]
    for path in (folder / candidate for folder in looked for candidate in names):
        if path.is_file():
            return path.read_bytes()
    raise DataError(f"image '{name}' is in none of {', '.join(map(str, looked))}; put the images there")


def encoded(image: Mapping[str, Any] | None, where: str) -> bytes:
    """The bytes of an image column.

    Raises:
        DataError: the column is empty.
    """
    content = (image or {}).get("bytes")
    if not content:
        raise DataError(f"{where}: has no image; fetch the file again")
    return bytes(content)
