"""Reads a folder in the layout of MLLMU-Bench, published or built here, into the four sets of one forget ratio.

Whatever is missing, broken or contradictory stops the reading with one sentence that says where.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unsee.data import DATASETS
from unsee.data.builder import TRAIN_SPLIT_FOLDER, TYPES
from unsee.data.schema import LETTERS, Benchmark, Input, Person, Question, Task
from unsee.errors import DataError

_INPUTS = {name: kind for kind, name in TYPES.items()}
_TASK_COLUMNS = ("Classification_Task", "Generation_Task", "Mask_Task")

Row = Mapping[str, Any]


@DATASETS.register("mllmu", paper="arXiv:2410.22108")
def load(folder: Path, percent: int) -> Benchmark:
    """Profiles with portraits, facts and questions, as published with MLLMU-Bench.

    Args:
        folder: holds one folder per config.
        percent: forget ratio; the sets `forget_<percent>` and `retain_<100 - percent>` are read.

    Raises:
        DataError: the folder cannot be read as four sets; the message says which config, column or ID.
    """
    folder = Path(folder)
    if not 0 < percent < 100:
        raise DataError(f"forget {percent} %: leaves nobody to forget or nobody to retain; choose 1 to 99")
    forget_name, retain_name = f"forget_{percent}", f"retain_{100 - percent}"
    columns = ("image", "ID", "biography", *_TASK_COLUMNS)
    forget, retain = (_read(folder, name, columns) for name in (forget_name, retain_name))
    _check_split(forget, retain, forget_name, retain_name)
    test = _read(folder, "Test_Set", ("images", "ID", *_TASK_COLUMNS), only=forget)
    celebrity = _read(folder, "Retain_Set", ("image", "ID", *_TASK_COLUMNS), optional=("biography",))
    names = _names(forget_name, forget) | _names(retain_name, retain)
    sets = {
        "forget": _people(forget_name, forget, names, _training(folder, forget_name, forget)),
        "test": _people("Test_Set", {identity: test[identity] for identity in forget}, names),
        "retain": _people(retain_name, retain, names, _training(folder, retain_name, retain)),
        "celebrity": _people("Retain_Set", celebrity, _names("Retain_Set", celebrity, needed=False)),
    }
    return Benchmark(**sets, fingerprint=_fingerprint(sets))


def _read(
    folder: Path, config: str, columns: Sequence[str], only: Iterable[str] = (), optional: Sequence[str] = ()
) -> dict[str, Row]:
    """Rows by ID, in file order.

    Args:
        folder: the data folder.
        config: the folder within it.
        columns: what has to be there.
        only: the IDs to read, each of which has to be there; all where empty.
        optional: what is read where it exists.
    """
    wanted = sorted(only)
    rows: dict[str, Row] = {}
    for path in _files(folder, config):
        try:
            present = pq.read_schema(path).names
            _check_columns(path, present, columns)
            chosen = [*columns, *(name for name in optional if name in present)]
            table = pq.read_table(path, columns=chosen, filters=[("ID", "in", wanted)] if wanted else None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable parquet file ({error}); fetch or build it again") from error
        for row in table.to_pylist():
            identity = row["ID"]
            if not isinstance(identity, str) or not identity.strip():
                raise DataError(f"{path}: a row has an empty ID; give each row its own ID")
            if identity in rows:
                raise DataError(f"{path}: ID '{identity}' occurs twice in config '{config}'; give each row its own ID")
            rows[identity] = row
    missing = [identity for identity in wanted if identity not in rows]
    if missing:
        raise DataError(f"{folder / config}: no row for ID {', '.join(map(repr, missing[:5]))}; add what is missing")
    return rows


def _files(folder: Path, config: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `unsee build` makes one")
    files = sorted((folder / config).glob("*.parquet"))
    if not files:
        siblings = (folder / config).parent.glob("*/*.parquet")
        found = sorted({path.parent.relative_to(folder).as_posix() for path in siblings})
        raise DataError(
            f"{folder}: config '{config}' is missing{_nearest(config, found)} "
            f"(found: {', '.join(found) or 'no parquet file'})"
        )
    return files


def _check_columns(path: Path, present: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in present:
            raise DataError(
                f"{path.parent.name}: column '{name}' is missing in {path}{_nearest(name, present)} "
                f"(found: {', '.join(present)})"
            )


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; the nearest is '{near[0]}'" if near else ""


def _check_split(forget: Mapping[str, Row], retain: Mapping[str, Row], forget_name: str, retain_name: str) -> None:
    if not forget or not retain:
        share = "nobody" if not forget else "everybody"
        raise DataError(f"{forget_name}: this forget share gives {share}; choose one that leaves people on both sides")
    shared = sorted(forget.keys() & retain.keys())
    if shared:
        raise DataError(
            f"{forget_name} and {retain_name} both hold {len(shared)} IDs, first '{shared[0]}'; rebuild them"
        )


def _people(
    config: str,
    rows: Mapping[str, Row],
    names: Mapping[str, str],
    training: Mapping[str, tuple[Question, ...]] | None = None,
) -> tuple[Person, ...]:
    return tuple(
        Person(
            id=identity,
            name=names[identity],
            images=_images(config, row),
            questions=(*(training[identity] if training else ()), *_evaluation(config, row)),
            biography=_biography(config, row),
        )
        for identity, row in rows.items()
    )


def _images(config: str, row: Row) -> tuple[bytes, ...]:
    """The encoded images, each decoded once to be sure that it can be."""
    structs = row["images"] if "images" in row else [row["image"]]
    if not structs:
        raise DataError(f"{config}: ID '{row['ID']}' has no image; add one or remove the row")
    images = []
    for struct in structs:
        encoded = (struct or {}).get("bytes") or b""
        try:
            Image.open(io.BytesIO(encoded)).load()
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{config}: the image of ID '{row['ID']}' is broken; replace it") from error
        images.append(encoded)
    return tuple(images)


def _biography(config: str, row: Row) -> Mapping[str, object]:
    text = row.get("biography")
    biography = {} if text is None else _parse(text, f"{config}: biography of ID '{row['ID']}'")
    if not isinstance(biography, dict):
        raise DataError(f"{config}: biography of ID '{row['ID']}' is no JSON object; got {type(biography).__name__}")
    return biography


def _names(config: str, rows: Mapping[str, Row], needed: bool = True) -> dict[str, str]:
    """Full names by ID; where none is needed (nobody is taught about celebrities) the ID stands in."""
    names = {}
    for identity, row in rows.items():
        name = _biography(config, row).get("Name", None if needed else identity)
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{config}: biography of ID '{identity}' has no 'Name'; text questions need one")
        names[identity] = name
    return names


def _evaluation(config: str, row: Row) -> list[Question]:
    where = f"{config}: ID '{row['ID']}'"
    try:
        questions = [
            _choice(item, kind, where)
            for kind, name in TYPES.items()
            for item in row["Classification_Task"][f"{name}_Questions"]
        ]
        columns: tuple[tuple[str, Task], ...] = (("Generation_Task", "generation"), ("Mask_Task", "cloze"))
        return questions + [
            Question(task=task, input=_INPUTS[item["Type"]], question=item["Question"], answer=item["Ground_Truth"])
            for column, task in columns
            for item in row[column]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: a question is incomplete or of unknown type ({error!r}); build it again") from error


def _choice(item: Mapping[str, Any], kind: Input, where: str) -> Question:
    options = tuple(item["Options"][letter] for letter in LETTERS)
    letter = item["Correct_Answer"].strip()
    if letter not in LETTERS or None in options:
        raise DataError(f"{where}: a choice with answer '{letter}' of {options}; give four options and one of A to D")
    answer = options[LETTERS.index(letter)]
    return Question(task="classification", input=kind, question=item["Question"], answer=answer, options=options)


def _training(folder: Path, config: str, people: Iterable[str]) -> dict[str, tuple[Question, ...]]:
    """Training text by ID, from the ratio's own folder where there is one, else from `ft_Data`."""
    split = f"{TRAIN_SPLIT_FOLDER}/{config}"
    source = split if (folder / split).is_dir() else "ft_Data"
    rows = _read(folder, source, ("ID", "metadata"), only=people)
    return {identity: _taught(source, row) for identity, row in rows.items()}


def _taught(config: str, row: Row) -> tuple[Question, ...]:
    """The turns of one person; entries that hold no `Question` are the published additions nobody trains on."""
    where = f"{config}: metadata of ID '{row['ID']}'"
    turns = _parse(row["metadata"], where)
    try:
        return tuple(
            Question(task="train", input="image", question=turn["Question"], answer=turn["Answer"])
            for turn in turns
            if "Question" in turn
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: no list of Question and Answer ({error}); fetch or build it again") from error


def _parse(text: object, where: str) -> Any:
    try:
        return json.loads(text)  # type: ignore[arg-type]  # anything but text is the error below
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: not valid JSON ({error}); fetch or build it again") from error


def _fingerprint(sets: Mapping[str, Sequence[Person]]) -> str:
    """SHA-256 over everything a model can be shown or asked, so that equal content is equal wherever it lies."""
    digest = hashlib.sha256()
    for name, people in sets.items():
        for person in people:
            images = [hashlib.sha256(image).hexdigest() for image in person.images]
            questions = [astuple(question) for question in person.questions]
            digest.update(json.dumps([name, person.id, person.name, images, questions]).encode())
    return digest.hexdigest()
