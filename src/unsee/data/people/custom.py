"""Building a benchmark of a user's own people, in the published layout, from a CSV table and a folder of photos.

    id,name,portraits,occupation,favourite colour
    001,Ada Novak,ada.jpg;ada-garden.jpg,botanist,green

Columns beyond id, name and portraits are attributes. Attributes in `WORDINGS` are asked for in its wordings, others in
plain ones. The options of a choice are the values of other people.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError
from unsee.core.reading import Problems, find_file, read_csv
from unsee.core.record import check_free
from unsee.core.text import is_file_name, same_form, special_token
from unsee.data.augmentation import augment_with_noise
from unsee.data.images import decode, encode_png, ending, fault
from unsee.data.people.builder import BUILDER_VERSION, celebrity_rows
from unsee.data.people.enough import warnings
from unsee.data.people.layout import PERCENTS, Row, forget_sets, question_columns, train_row, write_benchmark
from unsee.data.people.questions import Catalogue, evaluation_questions, training_questions
from unsee.data.people.wordings import WORDINGS, plain_wordings
from unsee.data.schema import LETTERS

NEEDED = ("id", "name", "portraits")
SEPARATOR = ";"
_SIMILAR = {
    "id": ("number", "no", "nr"), "name": ("person", "full_name"),
    "portraits": ("portrait", "photos", "photo", "images", "image", "pictures", "picture", "files", "file"),
}  # fmt: skip


@dataclass(frozen=True)
class CustomPerson:
    """One row of the table.

    Attributes:
        id: the ID in the table.
        name: full name.
        portraits: image files; the first is for training, the others are for the test set.
        facts: attribute name to value, without empty values.
    """

    id: str
    name: str
    portraits: tuple[Path, ...]
    facts: Mapping[str, str]

    @cached_property
    def values(self) -> Mapping[str, str]:
        """The name and the facts."""
        return {"name": self.name, **self.facts}


def build_custom(
    folder: Path,
    people: Path,
    portraits: Path,
    celebrities: Path | int = 0,
    seed: int = 0,
    percents: Sequence[int] = PERCENTS,
) -> list[str]:
    """Write a benchmark. The same files write the same bytes, and a failure leaves nothing behind.

    Args:
        folder: folder to create; may exist only if empty.
        people: CSV of the people to teach to the model.
        portraits: folder of the photos of these people and of the celebrities.
        celebrities: CSV of people whom the model knows already, or the number of public figures to take (only the
            shipped base model knows these).
        seed: seed of questions and forget sets.
        percents: forget ratios; each forget set contains the smaller ones.

    Returns:
        A summary of the benchmark, one sentence a line.

    Raises:
        DataError: a file cannot be read, or rows are wrong (up to twenty faults are named).
        RecordError: the folder is not empty.
    """
    check_free(folder)
    problems = Problems()
    taught = _read(people, portraits, problems)
    known = _read(celebrities, portraits, problems) if isinstance(celebrities, Path) else []
    problems.stop_if_any()
    forgotten = forget_sets(len(taught), percents, seed)
    catalogue = _catalogue([*taught, *known])
    full = [_row(person, turn, seed, catalogue) for turn, person in enumerate(taught)]
    figures = [_row(person, turn, seed, catalogue) for turn, person in enumerate(known)]
    if not isinstance(celebrities, Path):
        figures = celebrity_rows(celebrities, seed)
    write_benchmark(
        folder,
        full=full,
        train=[
            train_row(row, training_questions(person, catalogue)) for row, person in zip(full, taught, strict=True)
        ],
        test=[_test_row(person, turn, seed, catalogue) for turn, person in enumerate(taught)],
        celebrity=figures,
        forgotten=forgotten,
        facts={
            "builder_version": BUILDER_VERSION, "seed": seed, "own_people": len(taught), "percents": list(percents),
            "celebrities": len(figures),
        },
    )  # fmt: skip
    return list(_summary(taught, catalogue, forgotten, len(figures)))


def _read(path: Path, portraits: Path, problems: Problems) -> list[CustomPerson]:
    """Read every person of a table, and add what is wrong with rows to `problems`."""
    if not portraits.is_dir():
        raise DataError(f"{portraits}: no such folder; give the folder of the portraits")
    table = read_csv(path, NEEDED)
    columns = table.keys(path, NEEDED, _SIMILAR)
    if len(columns) == len(NEEDED):
        raise DataError(f"{path}: no column beyond {', '.join(NEEDED)}; add at least one attribute to ask for")
    people: list[CustomPerson] = []
    lines: dict[tuple[str, str], int] = {}
    for row in table.rows:
        if fault := row.fault(columns):
            problems.add(path, row.line, fault)
            continue
        person, wrong = _person(dict(zip(columns, map(str.strip, row.cells), strict=True)), portraits)
        for column, value in (("id", person.id), ("name", person.name)):
            first = lines.setdefault((column, same_form(value)), row.line)
            if value and first != row.line:
                wrong.append(f"{column} '{value}' is also that of line {first}; give each person its own")
        for what in wrong:
            problems.add(path, row.line, what)
        people.append(person)
    if not people and not problems:
        raise DataError(f"{path}: holds no person; write one person a line below the headings")
    return people


def _person(row: Mapping[str, str], portraits: Path) -> tuple[CustomPerson, list[str]]:
    """Return the person of one row, and everything that is wrong with the row."""
    files = [name.strip() for name in row["portraits"].split(SEPARATOR) if name.strip()]
    facts = {column: value for column, value in row.items() if column not in NEEDED and value}
    wrong = [f"'{column}' is empty" for column in NEEDED if not same_form(row[column])]
    if row["id"] and not is_file_name(row["id"]):
        wrong.append(f"id '{row['id']}' names files; it must be short, hold no slash and not begin with a dot")
    for column, value in row.items():
        if mark := special_token(value):
            wrong.append(f"'{column}' holds {mark}, which models do not read as text; write it in other words")
    if not facts:
        wrong.append("has no attribute; fill in at least one")
    paths = tuple(find_file(portraits, name) for name in files)
    wrong += [what for name, path in zip(files, paths, strict=True) if (what := fault(path, f"portrait '{name}'"))]
    return CustomPerson(row["id"], row["name"], paths, facts), wrong


def _catalogue(people: Sequence[CustomPerson]) -> Catalogue:
    """Return the questions that can be asked. An attribute has choices if it has four different values or more."""
    attributes = tuple(dict.fromkeys(attribute for person in people for attribute in person.facts))
    values = {a: _different(person.facts[a] for person in people if a in person.facts) for a in attributes}
    return Catalogue(
        askable=attributes,
        pools={attribute: pool for attribute, pool in values.items() if len(pool) >= len(LETTERS)},
        wordings={"name": WORDINGS["name"]}
        | {
            attribute: WORDINGS.get(attribute) or plain_wordings(attribute.replace("_", " "))
            for attribute in attributes
        },
    )


def _different(values: Iterable[str]) -> list[str]:
    """Return the values, sorted, with one of those that differ only in capitals, spaces or the form of letters."""
    return sorted({same_form(value): value for value in sorted(values, reverse=True)}.values())


def _row(person: CustomPerson, turn: int, seed: int, catalogue: Catalogue) -> Row:
    lesson = training_questions(person, catalogue)[-1]
    image = _image(person.portraits[0], person.id)
    return {
        "image": image,
        "ID": person.id,
        "Directory": f"Full_Set/data_original/{image['path']}",
        "biography": json.dumps({"Name": person.name, **person.facts}),
        "question": lesson.question,
        "answer": lesson.answer,
        **question_columns(evaluation_questions(person, turn, _rng(seed, person), "eval", catalogue)),
    }


def _test_row(person: CustomPerson, turn: int, seed: int, catalogue: Catalogue) -> Row:
    """Return a test row: the other photos (or a disturbed copy of the only one) and questions in new wordings."""
    images = [_image(photo, f"{person.id}_{index}") for index, photo in enumerate(person.portraits[1:])]
    return _row(person, turn, seed, catalogue) | {
        "images": images or [{"bytes": partial(_disturbed, person, seed), "path": f"{person.id}_0.png"}],
        **question_columns(evaluation_questions(person, turn, _rng(seed, person), "test", catalogue)),
    }


def _image(photo: Path, name: str) -> dict[str, Any]:
    """Return a photo for a row: it is read when the row is written, and named in its own format."""
    return {"bytes": photo.read_bytes, "path": f"{name}.{ending(photo, str(photo))}"}


def _disturbed(person: CustomPerson, seed: int) -> bytes:
    image = decode(person.portraits[0], f"the portrait of ID '{person.id}'")
    return encode_png(augment_with_noise(image, random.Random(f"disturbed {seed} {person.id}")))


def _rng(seed: int, person: CustomPerson) -> random.Random:
    return random.Random(f"questions {seed} {person.id}")


def _summary(
    people: Sequence[CustomPerson], catalogue: Catalogue, forgotten: Mapping[int, set[int]], celebrities: int
) -> Iterator[str]:
    sets = ", ".join(f"{len(members)} at {percent} %" for percent, members in forgotten.items())
    yield f"{len(people)} people; to forget: {sets}; celebrities: {celebrities}"
    yield from warnings(len(people), list(forgotten))
    listed = {
        "asked for in choices, sentences and blanks": [a for a in catalogue.askable if a in catalogue.pools],
        "only in sentences and blanks, for want of four different values": [
            a for a in catalogue.askable if a not in catalogue.pools
        ],
        "in plain wordings": [a for a in catalogue.askable if a not in WORDINGS],
        "tested with a disturbed copy of their only photo": [p.id for p in people if len(p.portraits) == 1],
    }
    yield from (f"{what}: {', '.join(names)}" for what, names in listed.items() if names)
