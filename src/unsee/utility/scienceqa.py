"""ScienceQA: school questions with an image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from unsee.core.errors import DataError
from unsee.core.reading import read_json
from unsee.scoring.intervals import Bootstrap, Draws
from unsee.utility import UTILITY
from unsee.utility.base import Mark, UtilityBenchmark, UtilityItem, by_group, letter, lettered, mean
from unsee.utility.published_files import encoded, read_image, read_rows, require

INSTRUCTION = "Answer with the option's letter from the given choices directly."
SPLIT = "test"
_FIELDS = {
    "question": str,
    "choices": list,
    "answer": int,
    "hint": str | None,
    "image": str | dict | None,
    "subject": str,
}
_FORMS = (re.compile(r"([A-E])\.?"), re.compile(r"([A-E])\. .*"), re.compile(r".*The answer is ([A-E]).*"))


@UTILITY.register("scienceqa", paper="arXiv:2209.09513")
@dataclass(frozen=True, kw_only=True)
class ScienceQA(UtilityBenchmark):
    """Questions with an image and two to five options: those of the test split that have an image.

    The data are a folder with `problems.json`, `pid_splits.json` and `images/test/<id>/image.png`; or the parquet files
    of the hub. As in LLaVA, a prompt is hint, question and options, and an answer is a letter, a letter with its text,
    or "The answer is B".
    """

    hub: ClassVar[str] = "derek-thomas/ScienceQA"
    files: ClassVar[tuple[str, ...]] = ("data/test-*.parquet",)
    max_new_tokens: ClassVar[int] = 16

    def items(self, folder: Path) -> Iterator[UtilityItem]:
        """Return the questions of the test split that have an image."""
        tables = sorted(folder.glob(f"**/{SPLIT}-*.parquet"))
        if tables and not (folder / "problems.json").is_file():
            for number, row in enumerate(read_rows(tables, _FIELDS)):
                if row["image"]:
                    yield _item(str(number), row, encoded(row["image"], f"ScienceQA {number}"))
            return
        problems, splits = read_json(folder / "problems.json"), read_json(folder / "pid_splits.json")
        for identity in map(str, require(splits, {SPLIT: list}, str(folder / "pid_splits.json"))[SPLIT]):
            row = require(problems, {identity: dict}, str(folder / "problems.json"))[identity]
            require(row, _FIELDS, f"{folder / 'problems.json'}, problem {identity}")
            if row["image"]:
                places = [folder / base / SPLIT / identity for base in ("images", ".")]
                yield _item(identity, row, read_image(places, row["image"]))

    def mark(self, item: UtilityItem, answer: str) -> Mark:
        """Read the letter of an option, in one of three forms."""
        said = answer.strip().replace("\n", ". ")
        match = next((match for form in _FORMS if (match := form.fullmatch(said))), None)
        read = match[1] if match and ord(match[1]) - ord("A") < len(item.options) else ""
        return Mark(read, float(read == item.truth), bool(read))

    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        """Return the accuracy overall and by subject."""
        return {"accuracy": mean(bootstrap, bootstrap.answers), **by_group(bootstrap, bootstrap.answers)}


def _item(identity: str, row: Mapping[str, Any], image: bytes) -> UtilityItem:
    options = tuple(map(str, row["choices"]))
    if not 0 <= row["answer"] < len(options):
        raise DataError(f"ScienceQA {identity}: answer {row['answer']} of {len(options)} choices; fetch it again")
    context = f"Context: {row['hint']}\n" if row["hint"] else ""
    return UtilityItem(
        id=identity,
        unit=identity,
        group=row["subject"],
        text=f"{context}{row['question']}\n{lettered(options)}\n{INSTRUCTION}",
        images=(image,),
        truth=letter(row["answer"]),
        options=options,
    )
