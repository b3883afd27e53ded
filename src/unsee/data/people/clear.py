"""Reads CLEAR: photos of the authors of TOFU with captions, and TOFU's questions about the same authors.

The text rows carry no name. As in TOFU, 20 consecutive rows are about one person; which person that is, is told by the
words of the names in them, and checked.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from unsee.core.errors import DataError
from unsee.data.images import check_all
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset, Rows, make_benchmark
from unsee.data.people.parquet import Row, read_rows
from unsee.data.schema import Benchmark, Person, Question

BLOCK = 20
"""Consecutive text rows about one person."""
CAPTION_QUESTIONS = (
    "Describe this picture.",
    "What does this picture show?",
    "What can be seen here?",
    "Write a caption for this picture.",
)
_CHOICE = "Which caption fits this picture?"
_NAME = "What is the name of the person in this picture?"
_BLANK = "The name of the person in this picture is __."
_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)
_IMAGE = pa.struct({"bytes": pa.binary(), "path": _TEXT})
_CAPTIONS = {"image": _IMAGE, "caption": _TEXT, "name": _TEXT}
_PERTURBED = _CAPTIONS | {"paraphrased_caption": _TEXT, "perturbed_captions": _TEXTS, "perturbed_names": _TEXTS}
_MIXED = {"caption": _TEXT, "question": _TEXT, "answer": _TEXT}
_FACES = {"image": _IMAGE, "answer": _TEXT, "options": _TEXTS}
_WORLD = {"image": _IMAGE, "question": _TEXT, "answer": _TEXT, "options": _TEXTS}


@DATASETS.register("clear", paper="arXiv:2410.18057", label="CLEAR")
@dataclass(frozen=True)
class Clear(Dataset):
    """Photos of invented authors with captions, and the questions of TOFU about them."""

    hub: ClassVar[str] = "therem/CLEAR"
    mirrors: ClassVar[tuple[str, ...]] = ("therem/faces_v1",)
    licence: ClassVar[str] = "none is stated on the card of therem/CLEAR; ask its authors before you pass it on"
    percents: ClassVar[tuple[int, ...]] = (1, 5, 10)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return True if a folder holds captions with TOFU's questions."""
        return any(folder.glob("forget*+tofu")) or (folder / "retain_perturbed").is_dir()

    def files(self, percent: int, *, with_training_text: bool) -> list[str]:
        """Return the configs of the ratio, and those of the retained people and of the real world."""
        del with_training_text
        forget, retain = _configs(percent)
        own = (forget, f"{forget}+tofu", f"{forget}_perturbed", retain, f"{retain}+tofu")
        return [f"{config}/*" for config in (*own, "retain_perturbed", "real_faces", "real_world")]

    def published_people(self, percent: int) -> Mapping[str, int]:
        """Return the numbers of TOFU's authors."""
        return {"forget": 2 * percent, "retain": 200 - 2 * percent}

    def load(self, folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
        """Read a folder with one folder for each config."""
        del training_text
        rows = Rows()
        forget, retain = _configs(percent)
        captions = {config: _read(folder, config, _CAPTIONS, rows) for config in (forget, retain)}
        names = sorted({_text(row, "name", config) for config, some in captions.items() for row in some})
        ids = {name: f"{number:03}" for number, name in enumerate(names, 1)}
        if shared := set.intersection(
            *({_text(row, "name", config) for row in some} for config, some in captions.items())
        ):
            raise DataError(f"{forget} and {retain} both hold {len(shared)} people; fetch the data again")
        sets = {}
        for config, perturbed in ((forget, f"{forget}_perturbed"), (retain, "retain_perturbed")):
            asked = _read(folder, perturbed, _PERTURBED, rows)
            known = {_text(row, "name", config) for row in captions[config]}
            about = [row for row in asked if _text(row, "name", perturbed) in known]
            rows.leave_out(perturbed, f"about people who are not in {config}", len(asked) - len(about))
            facts = _facts(folder, config, sorted(known), len(captions[config]), rows)
            sets[config] = _people(config, captions[config], perturbed, about, facts, ids, rows)
        celebrity = _celebrities(folder, rows)
        return make_benchmark(forget=sets[forget], retain=sets[retain], celebrity=celebrity, notes=rows.notes())


def _configs(percent: int) -> tuple[str, str]:
    return f"forget{percent:02}", f"retain{100 - percent}"


def _read(folder: Path, config: str, types: Mapping[str, pa.DataType], rows: Rows) -> list[Row]:
    found = read_rows(folder, config, types)
    rows.read(config, len(found))
    return found


def _text(row: Row, column: str, config: str) -> str:
    text = row[column]
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{config}: a row has no text in '{column}'; fetch the data again")
    return text.strip()


def _facts(
    folder: Path, config: str, names: Sequence[str], num_captions: int, rows: Rows
) -> dict[str, list[tuple[str, str]]]:
    """Return TOFU's questions and answers by name.

    Raises:
        DataError: the captions are not those of `config`, the text rows are no blocks of 20, or two blocks are about
            one person.
    """
    mixed = f"{config}+tofu"
    found = _read(folder, mixed, _MIXED, rows)
    texts = [row for row in found if row["question"] is not None]
    if len(found) - len(texts) != num_captions:
        raise DataError(
            f"{mixed}: holds {len(found) - len(texts)} captions and {config} holds {num_captions}; fetch both again"
        )
    rows.leave_out(mixed, f"captions, which are read from {config}", num_captions)
    if len(texts) % BLOCK:
        raise DataError(f"{mixed}: {len(texts)} text rows are no blocks of {BLOCK} for each person; fetch it again")
    facts: dict[str, list[tuple[str, str]]] = {}
    for start in range(0, len(texts), BLOCK):
        pairs = [(_text(row, "question", mixed), _text(row, "answer", mixed)) for row in texts[start : start + BLOCK]]
        name = _named(pairs, names)
        if not name:
            rows.leave_out(mixed, f"they name nobody who has a photo in {config}", BLOCK)
        elif name in facts:
            raise DataError(
                f"{mixed}: text rows {start + 1} to {start + BLOCK} and {BLOCK} before them are about one person of "
                f"{config}; fetch both again"
            )
        else:
            facts[name] = pairs
    return facts


def _named(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    """Return the name whose words the rows say most often; "" if they say half of the words of no name."""
    said = [set(_words(f"{question} {answer}")) for question, answer in pairs]
    counts = {name: [sum(word in row for row in said) for word in _words(name)] for name in names}
    known = [name for name, found in counts.items() if 2 * sum(map(bool, found)) >= max(1, len(found))]
    return max(known, key=lambda name: sum(counts[name]), default="")


def _words(text: str) -> list[str]:
    """Return the words of a text without accents, folded."""
    plain = unicodedata.normalize("NFKD", text.replace("'s", " ").replace("\u2019s", " "))
    return re.findall(r"[a-z0-9]{2,}", "".join(sign for sign in plain if not unicodedata.combining(sign)).casefold())


def _people(
    config: str,
    captions: Sequence[Row],
    perturbed: str,
    asked: Sequence[Row],
    facts: Mapping[str, Sequence[tuple[str, str]]],
    ids: Mapping[str, str],
    rows: Rows,
) -> list[Person]:
    photos: dict[str, dict[bytes, str]] = {}
    for row in captions:
        name, caption = (_text(row, column, config) for column in ("name", "caption"))
        image = (row["image"] or {}).get("bytes") or b""
        if image in photos.setdefault(name, {}):
            rows.leave_out(config, "the same photo of a person again")
        photos[name].setdefault(image, caption)
    check_all((image, f"{config}: a photo of ID '{ids[name]}'") for name, own in photos.items() for image in own)
    further = {(_text(row, "name", perturbed), (row["image"] or {}).get("bytes") or b""): row for row in asked}
    unknown = [image for name, image in further if image not in photos[name]]
    rows.leave_out(perturbed, f"their photos are not in {config}", len(unknown))
    rows.leave_out(perturbed, "the same photo of a person again", len(asked) - len(further))
    return [
        Person(
            id=ids[name],
            name=name,
            images=tuple(own),
            questions=tuple(_questions(name, own, facts.get(name, ()), further)),
        )
        for name, own in photos.items()
    ]


def _questions(
    name: str,
    photos: Mapping[bytes, str],
    facts: Sequence[tuple[str, str]],
    further: Mapping[tuple[str, bytes], Row],
) -> list[Question]:
    """Return what is taught of one person, then what is asked: with a photo only where there are false captions."""
    taught, exam = [], []
    for number, (image, caption) in enumerate(photos.items()):
        row = further.get((name, image))
        false = _false(row["perturbed_captions"], caption) if row else ()
        described = Question(
            task="train", input="image", question=CAPTION_QUESTIONS[number % len(CAPTION_QUESTIONS)], answer=caption,
            photo=number, paraphrase=str(row["paraphrased_caption"] or "") if row else "", perturbed=false,
        )  # fmt: skip
        taught.append(described)
        if row:
            exam.append(replace(described, task="generation"))
            exam += _choices(_CHOICE, caption, false, number)
            exam += _choices(_NAME, name, _false(row["perturbed_names"], name), number)
            exam.append(Question(task="cloze", input="image", question=_BLANK, answer=name, photo=number))
    for question, answer in facts:
        told = Question(task="train", input="text", question=question, answer=answer)
        taught.append(told)
        exam.append(replace(told, task="generation"))
    return [*taught, *exam]


def _false(options: Sequence[str] | None, truth: str) -> tuple[str, ...]:
    """Return the false options, each once."""
    texts = [str(text or "").strip() for text in options or ()]
    return tuple(dict.fromkeys(text for text in texts if text and text != truth))


def _choices(question: str, answer: str, false: Sequence[str], photo: int | None) -> list[Question]:
    """Return a choice among shuffled options (the published code always puts the truth last); none without options."""
    if not false:
        return []
    options = tuple(random.Random(f"clear {question} {answer} {photo}").sample([*false, answer], len(false) + 1))
    return [
        Question(
            task="classification", input="image" if photo is not None else "text", question=question, answer=answer,
            options=options, photo=photo,
        )
    ]  # fmt: skip


def _celebrities(folder: Path, rows: Rows) -> list[Person]:
    """Return real people by face, and questions about the real world, in turns, so that some of both are asked."""
    faces: dict[str, list[Row]] = {}
    for row in _read(folder, "real_faces", _FACES, rows):
        faces.setdefault(_text(row, "answer", "real_faces"), []).append(row)
    people = [_face(f"face-{number:03}", name, some) for number, (name, some) in enumerate(faces.items(), 1)]
    world = [
        _world(f"world-{number:03}", row) for number, row in enumerate(_read(folder, "real_world", _WORLD, rows), 1)
    ]
    every = [one for one in chain.from_iterable(zip_longest(people, world)) if one is not None]
    check_all((image, f"the photo of ID '{one.id}'") for one in every for image in one.images)
    return every


def _face(identity: str, name: str, rows: Sequence[Row]) -> Person:
    images = tuple((row["image"] or {}).get("bytes") or b"" for row in rows)
    questions = [
        question
        for number, row in enumerate(rows)
        for question in (
            *_choices(_NAME, name, _false(row["options"], name), number),
            Question(task="cloze", input="image", question=_BLANK, answer=name, photo=number),
        )
    ]
    return Person(id=identity, name=name, images=images, questions=tuple(questions))


def _world(identity: str, row: Row) -> Person:
    question, answer = (_text(row, column, "real_world") for column in ("question", "answer"))
    image = (row["image"] or {}).get("bytes")
    asked = _choices(question, answer, _false(row["options"], answer), 0 if image else None)
    return Person(id=identity, name="", images=(image,) if image else (), questions=tuple(asked))
