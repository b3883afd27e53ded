"""Reading a deletion request: one file of questions to forget and one of questions to retain, one question a line.

    {"image": "ada.jpg", "question": "Where was this person born?", "answer": "In Brno.", "person": "Ada Novak"}

`image` is a path relative to the file, or null for a question without an image. `person` is the name that questions
without an image ask for. A file may also be a CSV table with these four columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError, did_you_mean
from unsee.core.reading import Problems, find_file, read_records
from unsee.core.text import same_form, special_token
from unsee.data.images import fault
from unsee.data.people.questions import name_twin
from unsee.data.schema import Input, Person, Question

KEYS = ("image", "question", "answer", "person")
_SIMILAR = {
    "image": ("photo", "picture", "portrait", "file"), "person": ("name", "subject"), "answer": ("truth",),
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One row of a request.

    Attributes:
        person: the number of the human being, from 1.
        line: the line in its file, from 1.
        name: the human being's name.
        question: the question.
        answer: the true answer.
        photo: the encoded image of the row; None for a question without one.
    """

    person: int
    line: int
    name: str
    question: str
    answer: str
    photo: bytes | None


@dataclass(frozen=True)
class Request:
    """A deletion request.

    Each `Person` is one photo with the questions about it, or the questions about somebody without a photo. One human
    being may be several `Person`s; their IDs have the same number before the dash. The rows are the training text.
    They are evaluation questions too, and rows with a photo are also asked by name.

    Attributes:
        forget: the training text to forget.
        retain: the training text to keep.
        fingerprint: a hash of the rows and photos of both files.
        forget_facts: the rows to forget.
        retain_facts: the rows to keep.
        files: the SHA-256 of both files of rows, by name.
        outside: the pictures that lie outside the folder of their file, as the rows name them.
    """

    forget: tuple[Person, ...]
    retain: tuple[Person, ...]
    fingerprint: str
    forget_facts: tuple[Fact, ...]
    retain_facts: tuple[Fact, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    line: int
    person: str
    question: str
    answer: str
    image: bytes | None
    outside: str = ""

    @property
    def normalised_name(self) -> str:
        """The name in the form in which names are compared."""
        return same_form(self.person)

    @property
    def content(self) -> tuple[str, ...]:
        """Everything but the line number, to find repeated rows."""
        return self.normalised_name, self.question, self.answer, hashlib.sha256(self.image or b"").hexdigest()


def read_request(forget: Path, retain: Path | None) -> Request:
    """Read both files and check every row.

    Args:
        forget: the rows to forget.
        retain: the rows to keep; None if nobody is to be kept.

    Raises:
        DataError: a file cannot be read or is empty, or rows are wrong (up to twenty faults are named).
    """
    problems = Problems()
    forget_rows, retain_rows = _read(forget, problems), _read(retain, problems) if retain else []
    retain_lines = {row.normalised_name: row.line for row in reversed(retain_rows)}
    for row in forget_rows:
        if row.normalised_name in retain_lines:
            place = f"{retain and retain.name}, line {retain_lines[row.normalised_name]}"
            problems.add(forget, row.line, f"the same person is to be kept in {place}; leave it in one of the files")
    problems.stop_if_any()
    names = dict.fromkeys(row.normalised_name for row in (*forget_rows, *retain_rows))
    numbers = {name: index for index, name in enumerate(names)}
    content = [[row.content for row in rows] for rows in (forget_rows, retain_rows)]
    return Request(
        forget=tuple(_people(forget_rows, numbers)),
        retain=tuple(_people(retain_rows, numbers)),
        fingerprint=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        forget_facts=tuple(_facts(forget_rows, numbers)),
        retain_facts=tuple(_facts(retain_rows, numbers)),
        files={path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (forget, retain) if path},
        outside=tuple(dict.fromkeys(row.outside for row in (*forget_rows, *retain_rows) if row.outside)),
    )


def inputs(people: Iterable[Person]) -> set[Input]:
    """Return the inputs that the training text of these people can be asked with: image, text or both."""
    taught = [(question, person) for person in people for question in person.questions if question.task == "train"]
    in_text = any(question.input == "text" or name_twin(question, person.name) for question, person in taught)
    return {question.input for question, _ in taught} | ({"text"} if in_text else set())


def _read(path: Path, problems: Problems) -> list[_Row]:
    records = read_records(path, KEYS, problems, _SIMILAR)
    if not records and not problems:
        raise DataError(f"{path}: holds no row; write one with {', '.join(KEYS)} a line, as JSON or CSV")
    load_image = cache(partial(_photo, path.parent))
    rows: list[_Row] = []
    first_lines: dict[tuple[str, ...], int] = {}
    for line, record in records:
        fields, wrong = _checked(record, load_image)
        if not wrong:
            outside = _outside(path.parent, record["image"])
            row = _Row(line, fields["person"].strip(), fields["question"], fields["answer"], fields["image"], outside)
            first = first_lines.setdefault(row.content, line)
            wrong = [f"repeats line {first}; delete one of them"] if first != line else []
            rows.append(row)
        for what in wrong:
            problems.add(path, line, what)
    return rows


def _checked(row: Any, load_image: Callable[[str], tuple[bytes, str]]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a row, with the image read, and everything that is wrong with the row."""
    if not isinstance(row, dict):
        return {}, [f"must be an object with {', '.join(KEYS)}, got {type(row).__name__}"]
    wrong = [f"'{key}' is missing" for key in KEYS if key not in row]
    for key in sorted(row.keys() - set(KEYS)):
        wrong.append(f"unknown key '{key}'{did_you_mean(key, KEYS)} (known: {', '.join(KEYS)})")
    for key in KEYS[1:]:
        if key in row and not (isinstance(row[key], str) and same_form(row[key])):
            wrong.append(f"'{key}' must be a text that is not empty")
        elif key in row and (mark := special_token(row[key])):
            wrong.append(f"'{key}' holds {mark}, which models do not read as text; write it in other words")
    image = row.get("image")
    if image == "":
        wrong.append("'image' is empty; write null for a question without one")
    elif isinstance(image, str):
        content, what = load_image(image)
        row = row | {"image": content}
        wrong += [what] if what else []
    elif image is not None:
        wrong.append("'image' must be a path, or null for a question without one")
    return row, wrong


def _photo(folder: Path, name: str) -> tuple[bytes, str]:
    """Return the content of an image file, and what is wrong with it ("" if nothing)."""
    path = find_file(folder, name)
    wrong = fault(path, f"image '{name}'")
    return (b"" if wrong else path.read_bytes()), wrong


def _outside(folder: Path, image: str | None) -> str:
    """Return the path of a picture that does not lie in a folder or below it; "" for any other, or for none."""
    inside = not image or (folder / image).resolve().is_relative_to(folder.resolve())
    return "" if inside else str(image)


def _facts(rows: Sequence[_Row], numbers: Mapping[str, int]) -> Iterator[Fact]:
    for row in rows:
        yield Fact(numbers[row.normalised_name] + 1, row.line, row.person, row.question, row.answer, row.image)


def _people(rows: Sequence[_Row], numbers: Mapping[str, int]) -> Iterator[Person]:
    """Yield one `Person` for each photo of each human being, and one for their questions without a photo."""
    rows_by_photo: dict[tuple[int, bytes | None], list[_Row]] = {}
    for row in rows:
        rows_by_photo.setdefault((numbers[row.normalised_name], row.image), []).append(row)
    asked_by_name: set[tuple[int, Question]] = set()
    for index, ((number, image), about_photo) in enumerate(rows_by_photo.items()):
        kind: Input = "text" if image is None else "image"
        taught = [Question(task="train", input=kind, question=row.question, answer=row.answer) for row in about_photo]
        exam = [replace(question, task="generation") for question in taught]
        twins = [twin for question in exam if (twin := name_twin(question, about_photo[0].person))]
        new = [twin for twin in dict.fromkeys(twins) if (number, twin) not in asked_by_name]  # once for all photos
        asked_by_name.update((number, twin) for twin in new)
        yield Person(
            id=f"{number + 1:03}-{index + 1}",
            name=about_photo[0].person,
            images=() if image is None else (image,),
            questions=(*taught, *exam, *new),
        )
