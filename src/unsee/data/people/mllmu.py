"""Reads a folder in the layout of MLLMU-Bench, published or built here, into the four sets of one forget ratio.

Missing, broken or contradictory data stop the reading; the message says where they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any, ClassVar, Literal

from unsee.core.errors import DataError
from unsee.core.reading import parse_json
from unsee.data.images import check_all
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset, make_benchmark
from unsee.data.people.layout import TRAIN_SPLIT_FOLDER, TYPES
from unsee.data.people.parquet import BENCHMARK, TASK_COLUMNS, TRAINING_TEXT, Row, nearest, read
from unsee.data.schema import LETTERS, Benchmark, Input, Person, Question, Task

_INPUTS = {name: kind for kind, name in TYPES.items()}


@DATASETS.register("mllmu", paper="arXiv:2410.22108")
class MLLMUBench(Dataset):
    """Profiles with portraits, facts and questions, as published with MLLMU-Bench."""

    hub: ClassVar[str] = BENCHMARK
    training_hub: ClassVar[str] = TRAINING_TEXT
    training_kind: ClassVar[Literal["dataset", "model"]] = "model"

    def files(self, percent: int, *, with_training_text: bool) -> list[str]:
        """Return the configs of the ratio, of the test set and of the celebrities, without `Full_Set`."""
        configs = ["Test_Set/*", "Retain_Set/*", *(["ft_Data/*"] if with_training_text else [])]
        return self.training_files(percent) + configs

    def training_files(self, percent: int) -> list[str]:
        """Return the two configs of the ratio."""
        return [f"forget_{percent}/*", f"retain_{100 - percent}/*"]

    def load(self, folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
        """Read a folder; the same as `load` of this module."""
        return load(folder, percent, training_text)


def load(folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
    """Read the four sets of one forget ratio.

    Args:
        folder: holds one folder per config.
        percent: forget ratio; the sets `forget_<percent>` and `retain_<100 - percent>` are read. `Full_Set` is not,
            because it repeats them.
        training_text: a clone of `MLLMMU/baseline_train_split`; by default the folder `baseline_train_split` in
            `folder`, as `unsee build` writes it, else its config `ft_Data`.

    Raises:
        DataError: the folder cannot be read as four sets; the message says which config, column or ID.
    """
    folder = Path(folder)
    if not 0 < percent < 100:
        raise DataError(f"forget share of {percent} %: must lie between 1 and 99 %")
    forget_name, retain_name = f"forget_{percent}", f"retain_{100 - percent}"
    columns = ("image", "ID", "biography", *TASK_COLUMNS)
    forget, retain = (read(folder, name, columns) for name in (forget_name, retain_name))
    _check_split(forget, retain, forget_name, retain_name)
    test = read(folder, "Test_Set", ("images", "ID", *TASK_COLUMNS), only=forget)
    celebrity = read(folder, "Retain_Set", ("image", "ID", *TASK_COLUMNS), optional=("biography",))
    celebrity = _apart(celebrity, forget.keys() | retain.keys())
    names = _names(forget_name, forget) | _names(retain_name, retain)
    return make_benchmark(
        forget=_people(forget_name, forget, names, _training(folder, training_text, forget_name, forget)),
        test=_people("Test_Set", {identity: test[identity] for identity in forget}, names),
        retain=_people(retain_name, retain, names, _training(folder, training_text, retain_name, retain)),
        celebrity=_people("Retain_Set", celebrity, _names("Retain_Set", celebrity, needed=False)),
    )


def _check_split(forget: Mapping[str, Row], retain: Mapping[str, Row], forget_name: str, retain_name: str) -> None:
    if not forget or not retain:
        share = "nobody" if not forget else "everybody"
        raise DataError(f"{forget_name}: this forget share gives {share}; choose one that leaves people on both sides")
    shared = sorted(forget.keys() & retain.keys())
    if shared:
        raise DataError(
            f"{forget_name} and {retain_name} both hold {len(shared)} IDs, first '{shared[0]}'; rebuild them"
        )


def _apart(celebrity: Mapping[str, Row], people: Set[str]) -> dict[str, Row]:
    """Return the celebrities under IDs of their own, because published IDs may begin at "001" again."""
    shared = not people.isdisjoint(celebrity)
    return {f"celebrity-{identity}" if shared else identity: row for identity, row in celebrity.items()}


def _people(
    config: str,
    rows: Mapping[str, Row],
    names: Mapping[str, str],
    training: Mapping[str, tuple[Question, ...]] | None = None,
) -> tuple[Person, ...]:
    images = {identity: _images(config, row) for identity, row in rows.items()}
    check_all((image, f"{config}: the image of ID '{name}'") for name, several in images.items() for image in several)
    return tuple(
        Person(
            id=identity,
            name=names[identity],
            images=images[identity],
            questions=(*(training[identity] if training else ()), *_evaluation(config, row)),
            biography=_biography(config, row),
        )
        for identity, row in rows.items()
    )


def _images(config: str, row: Row) -> tuple[bytes, ...]:
    """Return the encoded images."""
    structs = row["images"] if "images" in row else [row["image"]]
    if not structs:
        raise DataError(f"{config}: ID '{row['ID']}' has no image; add one or remove the row")
    return tuple((struct or {}).get("bytes") or b"" for struct in structs)


def _biography(config: str, row: Row) -> Mapping[str, object]:
    text = row.get("biography")
    biography = {} if text is None else _parse(text, f"{config}: biography of ID '{row['ID']}'")
    if not isinstance(biography, dict):
        raise DataError(f"{config}: biography of ID '{row['ID']}' is no JSON object; got {type(biography).__name__}")
    return biography


def _names(config: str, rows: Mapping[str, Row], needed: bool = True) -> dict[str, str]:
    """Return full names by ID; if not `needed` (as for celebrities), a missing name is replaced by the ID."""
    names = {}
    for identity, row in rows.items():
        biography = _biography(config, row)
        name = biography.get("Name", None if needed else identity)
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                f"{config}: biography of ID '{identity}' has no 'Name'{nearest('Name', biography.keys())}; "
                "text questions need one"
            )
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
            Question(
                task=task, input=_INPUTS[item["Type"]], question=_text(item, "Question"),
                answer=_text(item, "Ground_Truth"),
            )
            for column, task in columns
            for item in row[column]
        ]  # fmt: skip
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: a question is incomplete or of unknown type ({error!r}); build it again") from error


def _choice(item: Mapping[str, Any], kind: Input, where: str) -> Question:
    options = tuple(item["Options"][letter] for letter in LETTERS)
    letter = _text(item, "Correct_Answer").strip(" .").upper()
    if letter not in LETTERS or None in options:
        count = len(options) - options.count(None)
        one = "an" if letter in LETTERS else "no"
        raise DataError(f"{where}: a choice has {count} options and {one} answer from A to D; give four and a letter")
    answer = options[LETTERS.index(letter)]
    return Question(task="classification", input=kind, question=_text(item, "Question"), answer=answer, options=options)


def _text(item: Mapping[str, Any], key: str) -> str:
    """Return a text of an item.

    Raises:
        KeyError: it is missing.
        TypeError: it is empty or no text.
    """
    value = item[key]
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise TypeError(f"'{key}' is {'empty' if isinstance(value, str) else f'no text but {type(value).__name__}'}")
    return str(value)


def _training(
    folder: Path, training_text: Path | None, config: str, people: Iterable[str]
) -> dict[str, tuple[Question, ...]]:
    """Return training text by ID, from `training_text`, else from the folder of the ratio, else from `ft_Data`."""
    place, source = (training_text, config) if training_text else (folder, f"{TRAIN_SPLIT_FOLDER}/{config}")
    if not training_text and not (folder / source).is_dir():
        source = "ft_Data"
    rows = read(place, source, ("ID", "metadata"), only=people)
    return {identity: _taught(source, row) for identity, row in rows.items()}


def _taught(config: str, row: Row) -> tuple[Question, ...]:
    """Return the turns of one person; entries without `Question` are published additions that are not taught."""
    where = f"{config}: metadata of ID '{row['ID']}'"
    turns = _turns(_parse(row["metadata"], where), where)
    try:
        return tuple(
            Question(task="train", input="image", question=_text(turn, "Question"), answer=_text(turn, "Answer"))
            for turn in turns
            if "Question" in turn
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: no list of Question and Answer ({error}); fetch or build it again") from error


def _turns(metadata: Any, where: str) -> list[dict[str, Any]]:
    """Return the entries of a person's metadata: those of a list, the values of an object, or a single entry.

    Raises:
        DataError: it has another form, or no entry has a `Question`, so that the person would be taught nothing.
    """
    if isinstance(metadata, dict):
        metadata = [metadata] if "Question" in metadata else list(metadata.values())
    entries: list[Any] = metadata if isinstance(metadata, list) else [metadata]
    for entry in entries:
        if not isinstance(entry, dict):
            raise DataError(
                f"{where}: must be a list of objects with Question and Answer, holds {json.dumps(entry)[:40]}; "
                "fetch or build it again"
            )
    if not any("Question" in entry for entry in entries):
        keys = {key for entry in entries for key in entry}
        raise DataError(
            f"{where}: no entry has a 'Question'{nearest('Question', keys)}, so nothing can be taught about this person"
        )
    return entries


def _parse(text: object, where: str) -> Any:
    try:
        return parse_json(text if isinstance(text, str) else "")
    except ValueError as error:
        raise DataError(f"{where}: {error}; fetch or build it again") from error
