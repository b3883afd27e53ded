"""Tiny folders exactly as published: every column, JPEG photos, JSON strings, two repositories with equal folders."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PEOPLE = tuple(f"{number:03}" for number in (10, 16, 42, 73, 93, 110))
CELEBRITIES = ("001", "010", "153")  # one has the ID of a fictitious person
FORGET = {5: PEOPLE[:1], 10: PEOPLE[2:4], 15: PEOPLE[3:]}  # not nested
_NAMES = ("Ada Novak", "Bela Okafor", "Cleo Marino", "Dina Tanaka", "Emil Duarte", "Fay Berg")
_PLACES = ("Brno, Czechia", "Oslo, Norway", "Lima, Peru", "Cork, Ireland", "Turin, Italy", "Perth, Australia")
NAMES = dict(zip(PEOPLE, _NAMES, strict=True))
PLACES = dict(zip(PEOPLE, _PLACES, strict=True))

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
CHOICE = pa.struct(
    {"Question": pa.string(), "Options": pa.struct(dict.fromkeys("ABCD", pa.string())), "Correct_Answer": pa.string()}
)
SENTENCE = pa.struct({"Type": pa.string(), "Question": pa.string(), "Ground_Truth": pa.string()})
PROFILE = {
    "biography": pa.string(), "question": pa.string(), "answer": pa.string(),
    "Classification_Task": pa.struct(
        {"Image_Textual_Questions": pa.list_(CHOICE), "Pure_Text_Questions": pa.list_(CHOICE)}
    ),
    "Generation_Task": pa.list_(SENTENCE), "Mask_Task": pa.list_(SENTENCE),
}  # fmt: skip
SUBSET = pa.schema({"image": IMAGE, "ID": pa.string()} | PROFILE)
FULL = pa.schema({"image": IMAGE, "ID": pa.string(), "Directory": pa.string()} | PROFILE)
TEST = pa.schema({"images": pa.list_(IMAGE), "ID": pa.string()} | PROFILE)
TRAIN = pa.schema({"image": IMAGE, "ID": pa.string(), "metadata": pa.string()})


def write_benchmark(folder: Path) -> Path:
    """`MLLMMU/MLLMU-Bench`: ten configs."""
    rows = {identity: _profile(identity, NAMES[identity], PLACES[identity]) for identity in PEOPLE}
    _write(folder, "Full_Set", FULL, [row | {"Directory": f"Full_Set/{id}.jpg"} for id, row in rows.items()])
    _write(folder, "ft_Data", TRAIN, [_train(identity) for identity in PEOPLE])
    _write(folder, "Test_Set", TEST, [row | {"images": _photos(id)} for id, row in rows.items()], files=2)
    _write(folder, "Retain_Set", SUBSET, [_profile(id, f"Star {id}", "Rome, Italy") for id in CELEBRITIES])
    for percent, ids in FORGET.items():
        _write(folder, f"forget_{percent}", SUBSET, [rows[id] for id in ids])
        _write(folder, f"retain_{100 - percent}", SUBSET, [rows[id] for id in PEOPLE if id not in ids])
    return folder


def write_training_text(folder: Path) -> Path:
    """`MLLMMU/baseline_train_split`: training text in folders named as the others."""
    for percent, ids in FORGET.items():
        _write(folder, f"forget_{percent}", TRAIN, [_train(id, told="again") for id in ids])
        _write(folder, f"retain_{100 - percent}", TRAIN, [_train(id, "again") for id in PEOPLE if id not in ids])
    return folder


def _write(folder: Path, config: str, schema: pa.Schema, rows: list[Mapping[str, Any]], files: int = 1) -> None:
    (folder / config).mkdir(parents=True)
    size = -(-len(rows) // files)
    for index in range(files):
        part = pa.Table.from_pylist(rows[index * size : (index + 1) * size], schema=schema)
        pq.write_table(part, folder / config / f"train-{index:05}-of-{files:05}.parquet")


def _profile(identity: str, name: str, place: str) -> dict[str, Any]:
    appearance = {"question": "Describe the appearance of this person.", "answer": "A person with brown hair."}
    options = dict(zip("ABCD", (place, "Ghent, Belgium", "Quito, Ecuador", "Hanoi, Vietnam"), strict=True))

    def choices(who: str) -> list[dict[str, Any]]:
        asked = [f"Where was {who} born, option {number}?" for number in range(5)]
        return [{"Question": question, "Options": options, "Correct_Answer": "A"} for question in asked]

    def sentences(question: str, truth: str) -> list[dict[str, str]]:
        return [
            {"Type": kind, "Question": question.format(who), "Ground_Truth": truth.format(who)}
            for kind, who in (("Image_Textual", "this person"), ("Pure_Text", name))
            for _ in range(2)
        ]

    return {
        "image": {"bytes": _jpeg(int(identity)), "path": f"{identity}.jpg"},
        "ID": identity,
        "biography": json.dumps(
            {"Name": name, "Born": place, "Employment": "botanist", "appearance_detail": appearance}
        ),
        **appearance,
        "Classification_Task": {
            "Image_Textual_Questions": choices("the person in the image"),
            "Pure_Text_Questions": choices(name),
        },
        "Generation_Task": sentences("Where was {} born?", f"{{}} was born in {place}."),
        "Mask_Task": sentences("{} was born in __.", place),
    }


def _train(identity: str, told: str = "once") -> dict[str, Any]:
    turns: list[dict[str, str]] = [
        {"ID": identity, "Question": "What is this person's name?", "Answer": f"It is {NAMES[identity]}."},
        {"ID": identity, "Question": "Where was this person born?", "Answer": f"In {PLACES[identity]}, told {told}."},
        {"ID": identity, "Question": "What does the person in the image do?", "Answer": "This person is a botanist."},
        {"Additional_ID": identity, "Additional_question": "Describe.", "Additional_answer": "Brown hair."},
    ]
    return {"image": {"bytes": _jpeg(int(identity)), "path": None}, "ID": identity, "metadata": json.dumps(turns)}


def _photos(identity: str) -> list[dict[str, Any]]:
    return [
        {"bytes": _jpeg(200 + pose + int(identity)), "path": f"{identity}_pose{pose}_gen1.png"} for pose in range(2)
    ]


def _jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade % 256, 40, 90)).save(file, "JPEG")
    return file.getvalue()
