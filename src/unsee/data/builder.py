"""Writes a benchmark of invented people to a folder, in the published layout and schema, so that one loader reads both.

Ten configs of one parquet split each: all people (`Full_Set`), training text (`ft_Data`, and per forget ratio below
`baseline_train_split`), forget and retain sets, other photos and wordings (`Test_Set`) and the celebrities, which the
published data call `Retain_Set`.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unsee.data.people import Profile, celebrities, draw_people
from unsee.data.portraits import disturb, draw_portrait, draw_scene, encode_png
from unsee.data.questions import Split, appearance_sentence, evaluation_questions, training_questions
from unsee.data.schema import LETTERS, Input, Question
from unsee.errors import DataError

BUILDER_VERSION = 3
TRAIN_SPLIT_FOLDER = "baseline_train_split"
TYPES: Mapping[Input, str] = {"image": "Image_Textual", "text": "Pure_Text"}

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


def build(
    folder: Path,
    people: int = 500,
    celebrities: int = 153,
    seed: int = 0,
    test_images: int = 2,
    percents: Sequence[int] = (5, 10, 15),
    image_pixels: int = 96,
) -> None:
    """Write a benchmark; the same arguments write the same bytes, and a failure leaves nothing behind.

    Args:
        folder: to be made; may exist only if empty.
        people: fictitious people, 2 to 500.
        celebrities: public figures, 0 to 153.
        seed: of people, portraits, questions and forget sets.
        test_images: photos per person in the test set.
        percents: forget ratios; each forget set contains the smaller ones.
        image_pixels: width and height of the portraits.

    Raises:
        DataError: a number out of its range, or a folder that already holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: already exists and is not empty; choose another folder or delete it")
    if test_images < 1 or image_pixels < 16:
        raise DataError(
            f"build: {test_images} test images of {image_pixels} pixels; at least 1 of 16 pixels are needed"
        )
    forgotten = forget_sets(people, percents, seed)
    tables = _tables(people, celebrities, seed, test_images, image_pixels, forgotten)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        unfinished = Path(temporary) / folder.name
        for name, (schema, rows) in tables.items():
            _write(unfinished / name, SCHEMAS[schema], rows, files=2 if schema == "test" else 1)
        facts = {
            "builder_version": BUILDER_VERSION, "seed": seed, "people": people, "celebrities": celebrities,
            "test_images": test_images, "percents": list(percents), "image_pixels": image_pixels,
        }  # fmt: skip
        (unfinished / "unsee.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        unfinished.rename(folder)


def forget_sets(people: int, percents: Sequence[int], seed: int) -> dict[int, set[int]]:
    """For each percentage the positions of the people to forget; the larger sets contain the smaller.

    Raises:
        DataError: a percentage that leaves nobody to forget or nobody to retain.
    """
    order = random.Random(f"forget {seed}").sample(range(people), max(people, 0))
    sets = {}
    for percent in percents:
        count = max(1, round(percent * people / 100))
        if not 0 < percent < 100 or count >= people:
            raise DataError(
                f"forget {percent} % of {people} people: leaves nobody to forget or nobody to retain; "
                "choose a share between 1 and 99 % and at least 2 people"
            )
        sets[percent] = set(order[:count])
    return sets


def _tables(
    people: int, num_celebrities: int, seed: int, test_images: int, image_pixels: int, forgotten: Mapping[int, set[int]]
) -> dict[str, tuple[str, list[Row]]]:
    """Path of each config to the name of its schema and its rows."""
    profiles = draw_people(people, seed)
    figures = celebrities(num_celebrities)
    full = [_profile_row(profile, seed, image_pixels) for profile in profiles]
    train = [_train_row(profile, row) for profile, row in zip(profiles, full, strict=True)]
    tables = {
        "Full_Set": ("full", full),
        "ft_Data": ("train", train),
        "Test_Set": ("test", [_test_row(profile, seed, image_pixels, test_images) for profile in profiles]),
        "Retain_Set": ("subset", [_profile_row(figure, seed, image_pixels) for figure in figures]),
    }
    for percent, members in forgotten.items():
        retained = set(range(people)) - members
        for name, positions in ((f"forget_{percent}", members), (f"retain_{100 - percent}", retained)):
            tables[name] = ("subset", [full[position] for position in sorted(positions)])
            tables[f"{TRAIN_SPLIT_FOLDER}/{name}"] = ("train", [train[position] for position in sorted(positions)])
    return tables


def _write(folder: Path, schema: pa.Schema, rows: Sequence[Row], files: int) -> None:
    folder.mkdir(parents=True)
    half = -(-len(rows) // files)
    for index in range(files):
        part = [{name: row[name] for name in schema.names} for row in rows[index * half : (index + 1) * half]]
        path = folder / f"train-{index:05}-of-{files:05}.parquet"
        pq.write_table(pa.Table.from_pylist(part, schema=schema), path, compression="zstd")


def _profile_row(profile: Profile, seed: int, image_pixels: int) -> Row:
    rng = random.Random(f"portrait {seed} {profile.id}")
    scene = draw_scene(rng)
    image = encode_png(draw_portrait(profile.look, scene, image_pixels))
    described = {"question": "What does this person look like?", "answer": appearance_sentence(profile.look, scene)}
    return {
        "image": {"bytes": image, "path": f"{profile.id}.png"},
        "ID": profile.id,
        "Directory": f"Full_Set/data_original/{profile.id}.png",
        "biography": json.dumps(_biography(profile) | {"appearance_detail": described}),
        **described,
        **_questions(profile, seed, "eval"),
    }


def _test_row(profile: Profile, seed: int, image_pixels: int, count: int) -> Row:
    """Other photos and other wordings: same face, new scene, another camera."""
    rng = random.Random(f"test portrait {seed} {profile.id}")
    scenes = [draw_scene(rng) for _ in range(count)]
    photos = [encode_png(disturb(draw_portrait(profile.look, scene, image_pixels), rng)) for scene in scenes]
    return {
        "images": [
            {"bytes": photo, "path": f"{profile.id}_pose{index}_gen1.png"} for index, photo in enumerate(photos)
        ],
        "ID": profile.id,
        "biography": json.dumps(_biography(profile)),
        "question": "Can you describe this person?",
        "answer": appearance_sentence(profile.look, scenes[0]),
        **_questions(profile, seed, "test"),
    }


def _train_row(profile: Profile, row: Row) -> Row:
    turns = [
        {"ID": profile.id, "Question": question.question, "Answer": question.answer}
        for question in training_questions(profile)
    ]
    return {"image": row["image"], "ID": profile.id, "metadata": json.dumps(turns)}


def _biography(profile: Profile) -> dict[str, object]:
    values = profile.values
    return {
        "Name": profile.name,
        "Gender": values["gender"],
        "Born": values["birthplace"],
        "Date of Birth": profile.birth_date,
        "Employment": values["occupation"],
        "Height": values["height"],
        "Education": values["education"],
        "Annual Salary": values["salary"],
        "Residence": values["residence"],
        "Medical Condition": values["medical_condition"],
        "Parents": {
            "Father": {"Name": profile.father, "Occupation": values["father_occupation"]},
            "Mother": {"Name": profile.mother, "Occupation": values["mother_occupation"]},
        },
        "Fun Facts": {"Hobby": values["hobby"], "Favourite Food": values["food"]},
    }


def _questions(profile: Profile, seed: int, split: Split) -> Row:
    questions = evaluation_questions(profile, random.Random(f"questions {seed} {profile.id}"), split)
    return {
        "Classification_Task": {
            f"{name}_Questions": [_choice(question) for question in _of(questions, "classification", kind)]
            for kind, name in TYPES.items()
        },
        "Generation_Task": _sentences(questions, "generation"),
        "Mask_Task": _sentences(questions, "cloze"),
    }


def _of(questions: Iterable[Question], task: str, kind: str) -> list[Question]:
    return [question for question in questions if (question.task, question.input) == (task, kind)]


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
