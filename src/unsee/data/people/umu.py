"""Reads UMU-Bench: the people of MLLMU-Bench, each of whom is asked everything twice, with the portrait and by name.

The task columns are texts of Python literals; the key of the questions with the portrait is spelled `muitimodal`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from unsee.core.errors import DataError
from unsee.core.reading import parse_json
from unsee.data.images import check_all
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset, Rows, make_benchmark
from unsee.data.people.parquet import Row, columns_of, nearest, read_rows
from unsee.data.people.questions import mention
from unsee.data.schema import LETTERS, Benchmark, Input, Person, Question, Task

_TEXT = pa.string()
_TAUGHT: Mapping[Input, str] = {"image": "MM_QA", "text": "UM_QA"}
_TASKS: Mapping[str, Task] = {"Classify": "classification", "Cloze": "cloze", "Generation": "generation"}
_SIDES: Mapping[Input, tuple[str, ...]] = {"image": ("muitimodal", "multimodal"), "text": ("unimodal",)}
_TYPES = {
    "image": pa.struct({"bytes": pa.binary(), "path": _TEXT}),
    **dict.fromkeys((*_TAUGHT.values(), *_TASKS), _TEXT),
}
_NAME = re.compile(r"(?:name\s*:\s*)?((?:[^\W\d_][\w.'-]*\s?){2,5}?)\s*(?:[,;.\n(]|is\b|was\b)", re.IGNORECASE)
_REAL = ("Real_Person_Set", "real_person")


@DATASETS.register("umu", paper="NeurIPS 2025, UMU-Bench", label="UMU-Bench")
@dataclass(frozen=True)
class UMUBench(Dataset):
    """The people of MLLMU-Bench with every question in both modalities."""

    hub: ClassVar[str] = "linbojunzi/UMU-bench"
    mirrors: ClassVar[tuple[str, ...]] = ("chengyewang/UMU-bench",)
    licence: ClassVar[str] = "none is stated with linbojunzi/UMU-bench; ask its authors before you pass it on"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return True if the forget sets have the columns of both modalities."""
        return any({*_TAUGHT.values()} <= {*columns_of(folder, path.name)} for path in folder.glob("forget_*"))

    def files(self, percent: int, *, with_training_text: bool) -> list[str]:
        """Return the configs of the ratio and of the real people, without `Full_Set`, which repeats them."""
        del with_training_text
        return [f"{config}/*" for config in (f"forget_{percent}", f"retain_{100 - percent}", *_REAL)]

    def published_people(self, percent: int) -> Mapping[str, int]:
        """Return the numbers of MLLMU-Bench."""
        return {"forget": 5 * percent, "retain": 500 - 5 * percent, "celebrity": 153}

    def load(self, folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
        """Read a folder with one folder for each config."""
        del training_text
        rows = Rows()
        forget, retain = (_people(folder, name, rows) for name in (f"forget_{percent}", f"retain_{100 - percent}"))
        if shared := {one.id for one in forget} & {one.id for one in retain}:
            raise DataError(
                f"forget_{percent} and retain_{100 - percent} both hold {len(shared)} IDs; fetch them again"
            )
        real = next((name for name in _REAL if (folder / name).is_dir()), _REAL[0])
        celebrity = _people(folder, real, rows, prefix="real-", taught=False)
        return make_benchmark(forget=forget, retain=retain, celebrity=celebrity, notes=rows.notes())


def _people(folder: Path, config: str, rows: Rows, prefix: str = "", taught: bool = True) -> list[Person]:
    found = read_rows(folder, config, {"ID": _TEXT} | _TYPES, optional=("Biography",))
    rows.read(config, len(found))
    people = {}
    for row in found:
        number = row["ID"]
        identity = prefix + (f"{number:03}" if isinstance(number, int) else str(number or "").strip())
        if identity in people:
            raise DataError(f"{config}: ID '{identity}' occurs twice; give each row its own")
        where = f"{config}: ID '{identity}'"
        questions = [*(_taught(row, where) if taught else ()), *_asked(row, where)]
        image = (row["image"] or {}).get("bytes") or b""
        people[identity] = Person(id=identity, name=_name(row) or identity, images=(image,), questions=tuple(questions))
    check_all((one.images[0], f"{config}: the image of ID '{one.id}'") for one in people.values())
    return list(people.values())


def _name(row: Row) -> str:
    """Return the full name in the biography, which is an object or a text that begins with the name; "" without one."""
    text = row.get("Biography")
    try:
        biography = _literal(text, "")
    except DataError:
        biography = None
    if isinstance(biography, Mapping):
        return next((str(value).strip() for key, value in biography.items() if str(key).casefold() == "name"), "")
    found = _NAME.match(text) if isinstance(text, str) else None
    name = found[1].strip() if found else ""
    return "" if mention(name) else name


def _taught(row: Row, where: str) -> Iterator[Question]:
    """Yield the training text; questions of one key are a pair."""
    for kind, column in _TAUGHT.items():
        place = f"{where}: {column}"
        both = _literal(row[column], place)
        questions, answers = (dict(_items(_part(both, name, place), place)) for name in ("question", "answer"))
        for key, question in questions.items():
            answer = _text(_part(answers, key, f"{place}.answer"), where)
            yield Question(
                task="train", input=kind, question=_text(question, where), answer=answer, pair=f"train-{key}"
            )


def _asked(row: Row, where: str) -> Iterator[Question]:
    """Yield the exam; questions of one key are a pair."""
    for column, task in _TASKS.items():
        both = _literal(row[column], f"{where}: {column}")
        sides = {
            kind: dict(_items(_part(both, names, f"{where}: {column}"), f"{where}: {column}.{names[0]}"))
            for kind, names in _SIDES.items()
        }
        for kind, items in sides.items():
            for key, item in items.items():
                place = f"{where}: {column}.{key}"
                other = next((side.get(key) for side in sides.values() if side is not items), None)
                yield _exam_question(task, kind, item, other, f"{task}-{key}", place)


def _exam_question(task: Task, kind: Input, item: Any, other: Any, pair: str, where: str) -> Question:
    """Return one question; without an answer of its own, that of the `other` side counts, as in the published code."""
    question = re.sub("_{2,}", "__", _text(_part(item, "question", where), where))
    given = item.get("answer") or (other.get("answer") if isinstance(other, Mapping) else None)
    answer = _text(given, where)
    options: tuple[str, ...] = ()
    if task == "classification":
        listed = _part(item, "options", where)
        options = tuple(_text(_part(listed, letter, f"{where}.options"), where) for letter in LETTERS)
        letter = answer.split(".")[0].strip().upper()
        if letter not in LETTERS:
            raise DataError(f"{where}: the answer '{answer[:20]}' is no letter from A to D; fetch the data again")
        answer = options[LETTERS.index(letter)]
    elif task == "cloze":
        answer = answer.rstrip(" .") or answer
    return Question(task=task, input=kind, question=question, answer=answer, options=options, pair=pair)


def _literal(text: object, where: str) -> Any:
    """Return the value of a text that is a Python literal or JSON.

    Raises:
        DataError: it is neither.
    """
    if not isinstance(text, str):
        raise DataError(f"{where} is no text; fetch the data again")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        try:
            return parse_json(text)
        except ValueError:
            raise DataError(f"{where} is no Python literal; fetch the data again") from None


def _items(value: Any, where: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where} must be an object of questions; fetch the data again")
    return [(str(key), item) for key, item in value.items()]


def _part(value: Any, names: str | tuple[str, ...], where: str) -> Any:
    """Return one part of an object; the message names the nearest."""
    several = (names,) if isinstance(names, str) else names
    if not isinstance(value, Mapping):
        raise DataError(f"{where} must be an object with '{several[0]}'; fetch the data again")
    if found := next((name for name in several if name in value), None):
        return value[found]
    known = ", ".join(map(str, value))
    raise DataError(f"{where} has no '{several[0]}'{nearest(several[0], list(map(str, value)))} (found: {known})")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise DataError(f"{where}: a question or an answer is empty; fetch the data again")
    return str(value).strip()
