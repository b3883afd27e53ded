"""Tiny folders exactly as CLEAR, FIUBench and UMU-Bench are published, about people of our own."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tiny

TEXT, TEXTS = pa.string(), pa.list_(pa.string())
IMAGE = pa.struct({"bytes": pa.binary(), "path": TEXT})
FIRST = ("Ada", "Bela", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jun")
LAST = ("Novak", "Okafor", "Marino", "Tanaka", "Duarte", "Berg", "Lindqvist", "Silva", "Moreau", "Kovac")
NAMES = tuple(f"{first} {last}" for first, last in zip(FIRST, LAST, strict=True))
TOWNS = ("Brno", "Oslo", "Lima", "Cork", "Turin", "Perth", "Quito", "Hanoi", "Ghent", "Accra")
FORGOTTEN = 5
"""Of the ten people the first are to be forgotten, whatever the ratio."""


def image(shade: int) -> dict[str, Any]:
    return {"bytes": tiny.png(shade), "path": f"{shade}.png"}


def write(folder: Path, config: str, types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]]) -> None:
    (folder / config).mkdir(parents=True)
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(types))
    pq.write_table(table, folder / config / "train-00000-of-00001.parquet")


def rewrite(folder: Path, config: str, change) -> None:
    """Apply `change` to the rows of a config and write them back."""
    (path,) = (folder / config).iterdir()
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows = change(rows) or rows
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def rename(folder: Path, config: str, old: str, new: str) -> None:
    (path,) = (folder / config).iterdir()
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([new if name == old else name for name in table.schema.names]), path)


# CLEAR

_CAPTIONS = {"image": IMAGE, "caption": TEXT, "name": TEXT}
_PERTURBED = _CAPTIONS | {"perturbed_captions": TEXTS, "paraphrased_caption": TEXT, "perturbed_names": TEXTS}
_MIXED = {"image": IMAGE, "caption": TEXT, "question": TEXT, "answer": TEXT}


def write_clear(folder: Path, percent: int = 5) -> Path:
    """`therem/CLEAR`: two photos of each person; the first row of the forget set has no false captions."""
    forget, retain = f"forget{percent:02}", f"retain{100 - percent}"
    for config, perturbed, members in (
        (forget, f"{forget}_perturbed", range(FORGOTTEN)),
        (retain, "retain_perturbed", range(FORGOTTEN, len(NAMES))),
    ):
        captions = [_caption(person, photo) for person in members for photo in range(2)]
        write(folder, config, _CAPTIONS, captions)
        nothing = {"question": None, "answer": None}
        texts = [row for person in members for row in _facts(person)]
        mixed = [{"image": row["image"], "caption": row["caption"]} | nothing for row in captions] + texts
        write(folder, f"{config}+tofu", _MIXED, mixed)
        write(folder, perturbed, _PERTURBED, [_perturbed(row) for row in captions[config == forget :]])
    faces = [
        {"image": image(200 + number), "answer": f"Star {number // 2}", "options": ["Nova One", "Nova Two"]}
        for number in range(6)
    ]
    write(folder, "real_faces", {"image": IMAGE, "answer": TEXT, "options": TEXTS}, faces)
    world = [
        {"question": f"Which tower is number {number}?", "answer": "The bell tower", "image": image(220 + number),
         "prompt": "a tower", "options": ["The clock tower", "The water tower", "A mill"]}
        for number in range(2)
    ]  # fmt: skip
    types = {"question": TEXT, "answer": TEXT, "image": IMAGE, "prompt": TEXT, "options": TEXTS}
    write(folder, "real_world", types, world)
    return folder


def _caption(person: int, photo: int) -> dict[str, Any]:
    place = ("at a desk", "in a garden")[photo]
    return {"image": image(10 * person + photo), "caption": f"{NAMES[person]} {place} in {TOWNS[person]}.",
            "name": NAMES[person]}  # fmt: skip


def _perturbed(row: Mapping[str, Any]) -> dict[str, Any]:
    false = [f"Somebody on a boat, view {number}." for number in range(5)]
    others = [name for name in NAMES if name != row["name"]][:5]
    return {**row, "perturbed_captions": false, "paraphrased_caption": f"A picture: {row['caption']}",
            "perturbed_names": others}  # fmt: skip


def _facts(person: int) -> list[dict[str, Any]]:
    """Twenty rows; only the first says the whole name, and some say none, as in TOFU."""
    first, _ = NAMES[person].split()
    asked = [f"Who wrote book {number}?" if number % 2 else f"What did {first} write as number {number}?"
             for number in range(19)]  # fmt: skip
    rows = [("What is the full name of the author?", f"The author is {NAMES[person]}.")]
    rows += [(question, f"Book {number} of {TOWNS[person]}.") for number, question in enumerate(asked)]
    return [{"image": None, "caption": None, "question": question, "answer": answer} for question, answer in rows]


# FIUBench


def write_fiubench(folder: Path, zipped: bool = True) -> Path:
    """`gray311/FIUBench`: a line for each person, splits that share nobody, and photos in an archive."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_identity(person) for person in range(len(NAMES))]
    (folder / "full.json").write_text("\n".join(map(json.dumps, rows)) + "\n")
    ids = [row["unique_id"] for row in rows]
    splits = {"forget1": ids[8:9], "forget5": ids[:FORGOTTEN], "forget10": ids[5:8], "retain5": ids[9:]}
    (folder / "split.json").write_text(json.dumps(splits))
    names = {f"SFHQ/SFHQ_{identity}.png": tiny.png(number) for number, identity in enumerate(ids)}
    if zipped:
        with zipfile.ZipFile(folder / "SFHQ.zip", "w") as archive:
            for name, content in names.items():
                archive.writestr(name, content)
    else:
        (folder / "SFHQ").mkdir()
        for name, content in names.items():
            (folder / name).write_bytes(content)
    return folder


def _identity(person: int) -> dict[str, Any]:
    name, identity = NAMES[person], f"{person + 31:08}"
    asked = [
        ("What is the name of this person?", f"This person is {name}.", [name]),
        ("Where does this person live?", f"This person lives in {TOWNS[person]}.", [TOWNS[person]]),
    ]
    return {
        "unique_id": identity, "image_path": f"./dataset/SFHQ/SFHQ_{identity}.png", "name": name, "gender": "female",
        "caption": "A face.", "raw_data": {"city": TOWNS[person]},
        "qa_list": [
            {"question": question, "answer": answer, "keywords": keywords,
             "paraphrased_question": [f"Tell me: {question}", f"Say: {question}"],
             "paraphrased_answer": f"It is known: {answer}",
             "perturbed_answer": [f"This person is somewhere, case {number}." for number in range(3)]}
            for question, answer, keywords in asked
        ],
    }  # fmt: skip


# UMU-Bench


def write_umu(folder: Path, percent: int = 5) -> Path:
    """`linbojunzi/UMU-bench`: columns of Python literals, with the misspelled key."""
    types = {"ID": TEXT, "image": IMAGE} | dict.fromkeys(
        ("Biography", "MM_QA", "UM_QA", "Classify", "Cloze", "Generation"), TEXT
    )
    rows = [_profile(person) for person in range(len(NAMES))]
    write(folder, f"forget_{percent}", types, rows[:FORGOTTEN])
    write(folder, f"retain_{100 - percent}", types, rows[FORGOTTEN:])
    write(folder, "Real_Person_Set", types, [_profile(person) for person in range(3)])
    return folder


def _profile(person: int) -> dict[str, Any]:
    name, town = NAMES[person], TOWNS[person]
    options = dict(zip("ABCD", (town, "Delft", "Izmir", "Sofia"), strict=True))

    def both(question: str, answer: str, **more: object) -> str:
        sides = {"unimodal": name, "muitimodal": "the person in the image"}
        return repr({
            side: {"q1": {"question": question.format(who), "answer": answer.format(who), **more}}
            for side, who in sides.items()
        })  # fmt: skip

    def taught(who: str) -> str:
        return repr({"question": {"1": f"Where does {who} live?"}, "answer": {"1": f"In {town}."}})

    return {
        "ID": f"{person + 1:03}", "image": image(person), "Biography": repr({"Name": name, "City": town}),
        "MM_QA": taught("this person"), "UM_QA": taught(name),
        "Classify": both("Where does {} live?", f"A. {town}", options=options),
        "Cloze": both("{} lives in ____.", f"{town}."),
        "Generation": both("Where does {} live?", f"{{}} lives in {town}."),
    }  # fmt: skip
