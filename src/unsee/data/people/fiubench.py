"""Reads FIUBench: invented people with a face, twenty questions each, and for each answer other words and false ones.

`full.json` holds one object for each person, `split.json` the IDs of the people to forget, and an archive the photos.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from unsee.core.errors import DataError
from unsee.core.reading import Problems, is_file, parse_json, read_json, read_json_lines, read_text
from unsee.core.text import one_line
from unsee.data.images import check_all
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset, Rows, make_benchmark
from unsee.data.people.parquet import nearest
from unsee.data.schema import Benchmark, Person, Question

MOST_PEOPLE = 400
"""The published code uses the first people of the file and no others."""
_PEOPLE, _SPLITS, _QUESTIONS = "full.json", "split.json", "questions of full.json"
_PERSON = ("unique_id", "image_path", "name", "qa_list")
_QUESTION = ("question", "answer", "keywords", "paraphrased_question", "paraphrased_answer", "perturbed_answer")


@DATASETS.register("fiubench", paper="arXiv:2411.03554", label="FIUBench")
@dataclass(frozen=True)
class FIUBench(Dataset):
    """Invented people with a face and twenty private facts, asked with the photo alone.

    Attributes:
        retain: the people to keep. "everyone_else" are all but those to forget; "never_forgotten", as in the published
            code, only those who are in the forget set of no ratio, and then nobody is taught the others.
    """

    hub: ClassVar[str] = "gray311/FIUBench"
    mirrors: ClassVar[tuple[str, ...]] = ("gray311/VFUBench",)
    licence: ClassVar[str] = "apache-2.0, as the card of gray311/FIUBench says"
    percents: ClassVar[tuple[int, ...]] = (1, 5, 10)

    retain: Literal["everyone_else", "never_forgotten"] = "everyone_else"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return True if a folder holds the people and the forget sets."""
        return all((folder / name).is_file() for name in (_PEOPLE, _SPLITS))

    def files(self, percent: int, *, with_training_text: bool) -> list[str]:
        """Return the people, the forget sets and the photos."""
        del percent, with_training_text
        return [_PEOPLE, _SPLITS, "SFHQ.zip", "SFHQ/*"]

    def published_people(self, percent: int) -> Mapping[str, int]:
        """Return the numbers of the published split."""
        forget = MOST_PEOPLE * percent // 100
        others = forget if self.retain == "everyone_else" else sum(MOST_PEOPLE * one // 100 for one in self.percents)
        return {"forget": forget, "test": forget, "retain": MOST_PEOPLE - others}

    def load(self, folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
        """Read a folder, with the photos in it or in an archive in it."""
        del training_text
        rows, every = Rows(), _people(folder / _PEOPLE)
        rows.read(_PEOPLE, len(every))
        people, splits = every[:MOST_PEOPLE], _splits(folder / _SPLITS)
        rows.leave_out(
            _PEOPLE, f"beyond the first {MOST_PEOPLE}, whom the published code uses", len(every) - len(people)
        )
        ids = [row["unique_id"] for row in people]
        forget = _forgotten(splits, percent, ids)
        others = set(forget) if self.retain == "everyone_else" else set().union(*splits.values())
        retain = [identity for identity in ids if identity not in others]
        unused = len(people) - len(forget) - len(retain)
        rows.leave_out(_PEOPLE, "in the forget set of another ratio (data.options.retain)", unused)
        rows.read(_QUESTIONS, sum(len(row["qa_list"]) for row in people))
        left = [row for row in people if row["unique_id"] not in {*forget, *retain}]
        rows.leave_out(_QUESTIONS, "about people who are left out", sum(len(row["qa_list"]) for row in left))
        photos = _Photos(folder)
        found = {row["unique_id"]: _person(row, photos) for row in people if row not in left}
        check_all((one.images[0], f"the photo of ID '{one.id}'") for one in found.values())
        asked = {row["unique_id"]: _reworded(row) for row in people}
        return make_benchmark(
            forget=[found[identity] for identity in forget],
            test=[replace(found[identity], questions=asked[identity]) for identity in forget],
            retain=[found[identity] for identity in retain],
            notes=rows.notes(),
        )


def _people(path: Path) -> list[dict[str, Any]]:
    """Return the people of a file that is a list or has one object on each line.

    Raises:
        DataError: it is neither, or a part of a person is missing; the message names the nearest.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            numbered: list[tuple[int, Any]] = list(enumerate(parse_json(text), 1))
        except ValueError as error:
            raise DataError(f"{path}: {error}; fetch it again") from error
    else:
        problems = Problems()
        numbered = read_json_lines(path, problems)
        problems.stop_if_any()
    if not numbered:
        raise DataError(f"{path}: holds nobody; fetch it again")
    ids = set()
    for number, row in numbered:
        where = f"{path}: person {number}"
        _check_keys(row, _PERSON, where)
        _check_texts(row, ("unique_id", "image_path", "name"), where)
        if not isinstance(row["qa_list"], list):
            raise DataError(f"{where}: 'qa_list' must be a list of questions; fetch the file again")
        for question in row["qa_list"]:
            _check_keys(question, _QUESTION, f"{where}, qa_list")
            _check_texts(question, ("question", "answer"), f"{where}, qa_list")
        if row["unique_id"] in ids:
            raise DataError(f"{where}: ID '{row['unique_id']}' occurs twice; give each person its own")
        ids.add(row["unique_id"])
    return [row for _, row in numbered]


def _check_keys(row: Any, needed: Sequence[str], where: str) -> None:
    if not isinstance(row, dict):
        raise DataError(f"{where} must be an object with {', '.join(needed)}")
    for name in needed:
        if name not in row:
            raise DataError(f"{where} has no '{name}'{nearest(name, row)} (found: {', '.join(row)})")


def _check_texts(row: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in names:
        if not isinstance(row[name], str) or not row[name].strip():
            raise DataError(f"{where}: '{name}' must be a text that is not empty; fetch the file again")


def _splits(path: Path) -> dict[str, list[str]]:
    """Return the IDs of each forget set."""
    splits = read_json(path)
    if not isinstance(splits, dict) or not all(isinstance(ids, list) for ids in splits.values()):
        raise DataError(f"{path}: must be an object with a list of IDs for each forget set; fetch it again")
    return {name: [str(one) for one in ids] for name, ids in splits.items() if name.startswith("forget")}


def _forgotten(splits: Mapping[str, Sequence[str]], percent: int, ids: Sequence[str]) -> list[str]:
    name = f"forget{percent}"
    if name not in splits:
        raise DataError(f"{_SPLITS}: has no '{name}'{nearest(name, splits)} (found: {', '.join(splits)})")
    wanted = set(splits[name])
    if missing := sorted(wanted.difference(ids)):
        raise DataError(
            f"{_SPLITS}: {name} names '{one_line(missing[0][:40])}', who is not among the people; fetch both again"
        )
    return [identity for identity in ids if identity in wanted]


class _Photos:
    """The photos, in folders or in archives; a photo is found by its file's name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archived: dict[str, tuple[Path, str]] = {}
        for archive in sorted(folder.glob("*.zip")):
            try:
                with zipfile.ZipFile(archive) as file:
                    members = file.namelist()
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(f"{archive}: cannot be read as an archive ({error}); fetch it again") from error
            self._archived |= {PurePosixPath(member).name: (archive, member) for member in members}

    def read(self, named: str, identity: str) -> bytes:
        """Return the photo of a person; `named` is its path in the data, which may begin elsewhere.

        Raises:
            DataError: there is no such file.
        """
        parts = [part for part in PurePosixPath(named.replace("\\", "/")).parts if part not in (".", "..", "/")]
        for start in range(len(parts)):
            path = self._folder.joinpath(*parts[start:])
            if is_file(path):
                return path.read_bytes()
        if parts and parts[-1] in self._archived:
            archive, member = self._archived[parts[-1]]
            try:
                with zipfile.ZipFile(archive) as file:
                    return file.read(member)
            except (zipfile.BadZipFile, OSError, zlib.error) as error:
                raise DataError(f"{archive}: {member} cannot be read ({error}); fetch the archive again") from error
        raise DataError(
            f"{self._folder}: the photo '{one_line(named[:80])}' of ID '{identity}' is neither there nor in an "
            "archive; fetch SFHQ.zip too"
        )


def _person(row: Mapping[str, Any], photos: _Photos) -> Person:
    questions = [_question(asked) for asked in row["qa_list"]]
    return Person(
        id=row["unique_id"],
        name=row["name"],
        images=(photos.read(row["image_path"], row["unique_id"]),),
        questions=(*questions, *(replace(question, task="generation") for question in questions)),
    )


def _question(asked: Mapping[str, Any]) -> Question:
    question, answer = (asked[name].strip() for name in ("question", "answer"))
    return Question(
        task="train", input="image", question=question, answer=answer,
        paraphrase=" ".join(_texts(asked["paraphrased_answer"])[:1]),
        perturbed=tuple(text for text in dict.fromkeys(_texts(asked["perturbed_answer"])) if text != answer),
        keywords=tuple(_texts(asked["keywords"])),
    )  # fmt: skip


def _reworded(row: Mapping[str, Any]) -> tuple[Question, ...]:
    """Return the exam with the first other wording of each question that there is."""
    questions = []
    for asked in row["qa_list"]:
        question = replace(_question(asked), task="generation")
        other = [text for text in _texts(asked["paraphrased_question"]) if text != question.question]
        if other:
            questions.append(replace(question, question=other[0]))
    return tuple(questions)


def _texts(value: Any) -> list[str]:
    """Return the texts of a list, or the one text."""
    several = value if isinstance(value, list) else [value]
    return [text.strip() for text in several if isinstance(text, str) and text.strip()]
