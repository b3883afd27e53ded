"""Reads a deletion request: what a model shall forget and what it shall keep, one question a line.

    {"image": "ada.jpg", "question": "Where was this person born?", "answer": "In Brno.", "person": "Ada Novak"}

`image` is a path relative to the file, or null for a question without one; `person` is the name one would ask for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError, did_you_mean
from unsee.data.files import Problems, read_photo, read_text
from unsee.data.people.questions import name_twin
from unsee.data.schema import Input, Person, Question

KEYS = ("image", "question", "answer", "person")


@dataclass(frozen=True)
class Request:
    """A deletion request.

    Each `Person` is one photo of somebody with the questions asked about it, or somebody's questions without photo: one
    human being may be several of them, whose IDs have the same number before the dash. The training text is the rows;
    every row is asked too, and rows with a photo once more by name.
    """

    forget: tuple[Person, ...]
    retain: tuple[Person, ...]
    fingerprint: str


@dataclass(frozen=True)
class _Row:
    line: int
    person: str
    question: str
    answer: str
    image: bytes | None

    @property
    def somebody(self) -> str:
        """The name without regard to case and spaces."""
        return " ".join(self.person.casefold().split())

    @property
    def content(self) -> tuple[str, ...]:
        """Everything but the place in the file."""
        return self.somebody, self.question, self.answer, hashlib.sha256(self.image or b"").hexdigest()


def read_request(forget: Path, retain: Path) -> Request:
    """Read both files and check every row before anything is computed.

    Raises:
        DataError: a file cannot be read or holds nothing, or a row is wrong: the first, and how many there are.
    """
    problems = Problems()
    forget_rows, retain_rows = _read(forget, problems), _read(retain, problems)
    kept = {row.somebody: row.line for row in reversed(retain_rows)}
    for row in forget_rows:
        if row.somebody in kept:
            place = f"{retain.name}, line {kept[row.somebody]}"
            problems.add(forget, row.line, f"the same person is to be kept in {place}; leave it in one of the files")
    problems.stop_if_any()
    numbers = {
        name: index for index, name in enumerate(dict.fromkeys(r.somebody for r in (*forget_rows, *retain_rows)))
    }
    content = [[row.content for row in rows] for rows in (forget_rows, retain_rows)]
    return Request(
        forget=tuple(_people(forget_rows, numbers)),
        retain=tuple(_people(retain_rows, numbers)),
        fingerprint=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
    )


def inputs(people: Iterable[Person]) -> set[Input]:
    """How the training text of these people can be asked: with a photo, or in text."""
    taught = [(question, person) for person in people for question in person.questions if question.task == "train"]
    in_text = any(question.input == "text" or name_twin(question, person.name) for question, person in taught)
    return {question.input for question, _ in taught} | ({"text"} if in_text else set())


def _read(path: Path, problems: Problems) -> list[_Row]:
    filled = [(line, text) for line, text in enumerate(read_text(path).split("\n"), 1) if text.strip()]
    if not filled:
        raise DataError(f"{path}: holds no row; write one object with {', '.join(KEYS)} a line")
    load_image = cache(lambda name: read_photo(path.parent / name))
    rows: list[_Row] = []
    first_lines: dict[tuple[str, ...], int] = {}
    for line, text in filled:
        fields, wrong = _parse(text, load_image)
        if not wrong:
            row = _Row(line, fields["person"].strip(), fields["question"], fields["answer"], fields["image"])
            first = first_lines.setdefault(row.content, line)
            wrong = [f"repeats line {first}; delete one of them"] if first != line else []
            rows.append(row)
        for what in wrong:
            problems.add(path, line, what)
    return rows


def _parse(text: str, load_image: Callable[[str], tuple[bytes, str]]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a row, its image read, and everything that is wrong with it."""
    try:
        row = json.loads(text)
    except ValueError as error:
        return {}, [f"not valid JSON ({error})"]
    if not isinstance(row, dict):
        return {}, [f"must be an object with {', '.join(KEYS)}, got {type(row).__name__}"]
    wrong = [f"'{key}' is missing" for key in KEYS if key not in row]
    for key in sorted(row.keys() - set(KEYS)):
        wrong.append(f"unknown key '{key}'{did_you_mean(key, KEYS)} (known: {', '.join(KEYS)})")
    for key in KEYS[1:]:
        if key in row and not (isinstance(row[key], str) and row[key].strip()):
            wrong.append(f"'{key}' must be a text that is not empty")
    image = row.get("image")
    if isinstance(image, str):
        row["image"], fault = load_image(image)
        wrong += [f"image '{image}' {fault}"] if fault else []
    elif image is not None:
        wrong.append("'image' must be a path, or null for a question without one")
    return row, wrong


def _people(rows: Sequence[_Row], numbers: Mapping[str, int]) -> Iterator[Person]:
    """One `Person` for each photo of each human being, and one for the questions without photo."""
    pages: dict[tuple[int, bytes | None], list[_Row]] = {}
    for row in rows:
        pages.setdefault((numbers[row.somebody], row.image), []).append(row)
    asked_by_name: set[tuple[int, Question]] = set()
    for page, ((number, image), asked) in enumerate(pages.items()):
        kind: Input = "text" if image is None else "image"
        taught = [Question(task="train", input=kind, question=row.question, answer=row.answer) for row in asked]
        exam = [replace(question, task="generation") for question in taught]
        twins = [twin for question in exam if (twin := name_twin(question, asked[0].person))]
        new = [twin for twin in dict.fromkeys(twins) if (number, twin) not in asked_by_name]  # once for all photos
        asked_by_name.update((number, twin) for twin in new)
        yield Person(
            id=f"{number + 1:03}-{page + 1}",
            name=asked[0].person,
            images=() if image is None else (image,),
            questions=(*taught, *exam, *new),
        )
