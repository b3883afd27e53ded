"""The published layout: ten configs of one parquet split each, and their columns.

The configs are all people (`Full_Set`), their training text (`ft_Data`, and per forget ratio in
`baseline_train_split`), the forget and retain sets, the test set with other photos and wordings (`Test_Set`), and the
celebrities (`Retain_Set` in the published data).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unsee.core.errors import DataError
from unsee.core.files import replacing
from unsee.core.record import check_free
from unsee.data.schema import LETTERS, Input, Question

TRAIN_SPLIT_FOLDER = "baseline_train_split"
TYPES: Mapping[Input, str] = {"image": "Image_Textual", "text": "Pure_Text"}
PERCENTS = (5, 10, 15)

_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_CHOICES = pa.list_(
    pa.struct(
        {
            "Question": pa.string(),
            "Options": pa.struct(dict.fromkeys(LETTERS, pa.string())),
            "Correct_Answer": pa.string(),
        }
    )
)
_SENTENCES = pa.list_(pa.struct({"Type": pa.string(), "Question": pa.string(), "Ground_Truth": pa.string()}))
_PROFILE = {
    "ID": pa.string(),
    "biography": pa.string(),
    "question": pa.string(),
    "answer": pa.string(),
    "Classification_Task": pa.struct({f"{kind}_Questions": _CHOICES for kind in TYPES.values()}),
    "Generation_Task": _SENTENCES,
    "Mask_Task": _SENTENCES,
}
SCHEMAS = {
    "full": pa.schema({"image": _IMAGE, "ID": pa.string(), "Directory": pa.string()} | _PROFILE),
    "subset": pa.schema({"image": _IMAGE} | _PROFILE),
    "test": pa.schema({"images": pa.list_(_IMAGE)} | _PROFILE),
    "train": pa.schema({"image": _IMAGE, "ID": pa.string(), "metadata": pa.string()}),
}

Row = dict[str, Any]
"""A row by column. The `bytes` of a picture may be a function that reads them, so that memory holds few pictures."""

_ROW_GROUP_BYTES = 2**25


def num_forgotten(people: int, percent: int) -> int:
    """Return how many of `people` people a forget share of `percent` per cent takes; at least one."""
    return max(1, round(percent * people / 100))


def forget_sets(people: int, percents: Sequence[int], seed: int) -> dict[int, set[int]]:
    """Draw the positions of the people to forget for each percentage. Larger sets contain the smaller ones.

    Raises:
        DataError: a percentage leaves nobody to forget or nobody to retain.
    """
    order = random.Random(f"forget {seed}").sample(range(people), max(people, 0))
    sets = {}
    for percent in percents:
        count = num_forgotten(people, percent)
        if not 0 < percent < 100:
            raise DataError(f"forget share of {percent} %: must lie between 1 and 99 %")
        if people < 2:
            raise DataError(f"people: {people} is too few; at least 2 are needed, one to forget and one to retain")
        if count >= people:
            raise DataError(f"forgetting {percent} % of {people} people leaves nobody to retain; take more people")
        sets[percent] = set(order[:count])
    return sets


def write_benchmark(
    folder: Path,
    *,
    full: Sequence[Row],
    train: Sequence[Row],
    test: Sequence[Row],
    celebrity: Sequence[Row],
    forgotten: Mapping[int, set[int]],
    facts: Mapping[str, object],
) -> None:
    """Write all configs. A failure leaves nothing behind.

    Args:
        folder: folder to create; may exist only if empty.
        full: rows of `Full_Set`; `train` and `test` hold the same people in the same order.
        train: rows of `ft_Data`.
        test: rows of `Test_Set`.
        celebrity: rows of `Retain_Set`.
        forgotten: forget ratio in per cent to the positions of the people to forget.
        facts: settings that made the data, for `unsee.json`.

    Raises:
        RecordError: the folder is not empty, or cannot be written.
    """
    check_free(folder)
    tables = {
        "Full_Set": ("full", full), "ft_Data": ("train", train), "Test_Set": ("test", test),
        "Retain_Set": ("subset", celebrity),
    }  # fmt: skip
    for percent, members in forgotten.items():
        retained = set(range(len(full))) - members
        for name, positions in ((f"forget_{percent}", members), (f"retain_{100 - percent}", retained)):
            tables[name] = ("subset", [full[position] for position in sorted(positions)])
            tables[f"{TRAIN_SPLIT_FOLDER}/{name}"] = ("train", [train[position] for position in sorted(positions)])
    with replacing(folder) as unfinished:
        for name, (schema, rows) in tables.items():
            _write(unfinished / name, SCHEMAS[schema], rows, files=2 if schema == "test" else 1)
        (unfinished / "unsee.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def train_row(row: Row, questions: Iterable[Question]) -> Row:
    """Return the row of `ft_Data` for a row of `Full_Set`."""
    turns = [{"ID": row["ID"], "Question": question.question, "Answer": question.answer} for question in questions]
    return {"image": row["image"], "ID": row["ID"], "metadata": json.dumps(turns)}


def question_columns(questions: Sequence[Question]) -> Row:
    """Return the three columns of evaluation questions."""
    return {
        "Classification_Task": {
            f"{name}_Questions": [
                _choice(question)
                for question in questions
                if (question.task, question.input) == ("classification", kind)
            ]
            for kind, name in TYPES.items()
        },
        "Generation_Task": _sentences(questions, "generation"),
        "Mask_Task": _sentences(questions, "cloze"),
    }


def _choice(question: Question) -> Row:
    return {
        "Question": question.question,
        "Options": dict(zip(LETTERS, question.options, strict=True)),
        "Correct_Answer": LETTERS[question.options.index(question.answer)],
    }


def _sentences(questions: Iterable[Question], task: str) -> list[Row]:
    return [
        {"Type": TYPES[question.input], "Question": question.question, "Ground_Truth": question.answer}
        for question in questions
        if question.task == task
    ]


def _write(folder: Path, schema: pa.Schema, rows: Sequence[Row], files: int) -> None:
    folder.mkdir(parents=True)
    half = -(-len(rows) // files)
    for index in range(files):
        path = folder / f"train-{index:05}-of-{files:05}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for group in _row_groups(rows[index * half : (index + 1) * half], schema.names):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _row_groups(rows: Sequence[Row], names: Sequence[str]) -> Iterator[list[Row]]:
    """Yield some columns of the rows in groups, with about `_ROW_GROUP_BYTES` of pictures read for each."""
    group: list[Row] = []
    num_bytes = 0
    for row in rows:
        several = "images" in names
        read = [_read(image) for image in (row["images"] if several else [row["image"]])]
        num_bytes += sum(len(image["bytes"]) for image in read)
        group.append({name: row[name] for name in names} | ({"images": read} if several else {"image": read[0]}))
        if num_bytes >= _ROW_GROUP_BYTES:
            yield group
            group, num_bytes = [], 0
    if group or not rows:
        yield group


def _read(image: Mapping[str, Any]) -> dict[str, Any]:
    encoded = image["bytes"]
    return {**image, "bytes": encoded() if callable(encoded) else encoded}
