"""Building a benchmark of invented people, in the published layout, so that one loader reads both."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from unsee.config.arguments import checked
from unsee.core.errors import DataError
from unsee.core.record import check_free
from unsee.data.augmentation import augment_with_noise
from unsee.data.images import encode_png
from unsee.data.people.layout import PERCENTS, Row, forget_sets, question_columns, train_row, write_benchmark
from unsee.data.people.portraits import draw_portrait, draw_scene
from unsee.data.people.profiles import Profile, celebrities, draw_people
from unsee.data.people.questions import Split, appearance_sentence, evaluation_questions, training_questions

BUILDER_VERSION = 3


@checked("unsee.build")
def build(
    folder: str | Path,
    people: int = 500,
    celebrities: int = 153,
    seed: int = 0,
    test_images: int = 2,
    percents: Sequence[int] = PERCENTS,
    image_pixels: int = 96,
) -> None:
    """Write a benchmark. The same arguments write the same bytes, and a failure leaves nothing behind.

    Args:
        folder: folder to create; may exist only if empty.
        people: number of invented people, 2 to 500.
        celebrities: number of public figures, 0 to 153.
        seed: seed of people, portraits, questions and forget sets.
        test_images: photos per person in the test set.
        percents: forget ratios; each forget set contains the smaller ones.
        image_pixels: width and height of the portraits.

    Raises:
        ConfigError: an argument cannot be used.
        DataError: a number is out of its range.
        RecordError: the folder is not empty.
    """
    folder = Path(folder)
    check_free(folder)
    if test_images < 1 or image_pixels < 16:
        raise DataError(
            f"build: {test_images} test images of {image_pixels} pixels; at least 1 of 16 pixels are needed"
        )
    forgotten = forget_sets(people, percents, seed)
    profiles = draw_people(people, seed)
    full = [_profile_row(profile, seed, image_pixels) for profile in profiles]
    write_benchmark(
        folder,
        full=full,
        train=[train_row(row, training_questions(person)) for row, person in zip(full, profiles, strict=True)],
        test=[_test_row(profile, seed, image_pixels, test_images) for profile in profiles],
        celebrity=celebrity_rows(celebrities, seed, image_pixels),
        forgotten=forgotten,
        facts={
            "builder_version": BUILDER_VERSION, "seed": seed, "people": people, "celebrities": celebrities,
            "test_images": test_images, "percents": list(percents), "image_pixels": image_pixels,
        },
    )  # fmt: skip


def celebrity_rows(count: int, seed: int, image_pixels: int = 96) -> list[Row]:
    """Return the rows of the first `count` public figures that the shipped base model knows.

    Raises:
        DataError: `count` is negative or larger than the number of figures.
    """
    return [_profile_row(figure, seed, image_pixels) for figure in celebrities(count)]


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
    """Return a test row: new photos (same face, new scene, disturbed) and questions in new wordings."""
    rng = random.Random(f"test portrait {seed} {profile.id}")
    scenes = [draw_scene(rng) for _ in range(count)]
    photos = [encode_png(augment_with_noise(draw_portrait(profile.look, scene, image_pixels), rng)) for scene in scenes]
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
    return question_columns(
        evaluation_questions(profile, int(profile.id), random.Random(f"questions {seed} {profile.id}"), split)
    )
