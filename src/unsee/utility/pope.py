"""POPE: questions about objects that are not in the photo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from unsee.core.errors import DataError
from unsee.scoring.intervals import Bootstrap, Draws
from unsee.utility import UTILITY
from unsee.utility.base import Mark, UtilityBenchmark, UtilityItem, mean
from unsee.utility.published_files import encoded, read_image, read_objects, read_rows

PROMPT = "{}\nAnswer the question using a single word or phrase."
_LINE = {"question_id": str | int, "image": str, "text": str, "label": str}
_ROW = {"question_id": str | int, "image_source": str, "image": dict | None, "question": str, "answer": str}


@UTILITY.register("pope", paper="arXiv:2305.10355")
@dataclass(frozen=True, kw_only=True)
class Pope(UtilityBenchmark):
    """Yes or no about objects in COCO photos: random, popular and adversarial objects.

    The data are a folder with `coco_pope_random.json`, `..._popular.json`, `..._adversarial.json` (JSON lines) and the
    photos next to them, in `val2014` or in `images`; or the parquet files of the hub.
    As published, an answer without "no" or "not" in its first sentence is a yes. Answers with neither yes nor no count
    as invalid.
    """

    hub: ClassVar[str] = "lmms-lab/POPE"
    files: ClassVar[tuple[str, ...]] = ("data/*.parquet",)
    max_new_tokens: ClassVar[int] = 16

    def items(self, folder: Path) -> Iterator[UtilityItem]:
        """Return every question of every category."""
        lists = sorted(folder.glob("**/coco_pope_*.json"))
        tables = sorted(folder.glob("**/*.parquet"))
        if not lists and not tables:
            raise DataError(f"{folder}: holds no coco_pope_*.json and no parquet file")
        seen: dict[str, bytes] = {}  # a photo has many questions but is kept in memory once
        for path in lists:
            category = path.stem.removeprefix("coco_pope_")
            for row in read_objects(path, _LINE):
                folders = [base / name for base in (path.parent, folder) for name in (".", "val2014", "images")]
                name = row["image"]
                image = seen[name] = seen.get(name) or read_image(folders, name)
                yield _item(category, row["question_id"], name, row["text"], image, row["label"])
        for row in read_rows(() if lists else tables, _ROW):
            name = row["image_source"]
            image = seen.setdefault(name, encoded(row["image"], f"POPE question {row['question_id']}"))
            yield _item(
                str(row.get("category", "all")), row["question_id"], name, row["question"], image, row["answer"]
            )

    def mark(self, item: UtilityItem, answer: str) -> Mark:
        """Read yes unless the first sentence contains no or not."""
        words = answer.partition(".")[0].replace(",", "").split(" ")
        read = "no" if {"No", "no", "not"} & set(words) else "yes"
        return Mark(read, float(read == item.truth), bool(re.search(r"\b(yes|no|not)\b", answer, re.IGNORECASE)))

    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        """Return accuracy, precision, recall, F1 and the share of yes, overall and in each category."""
        rows = bootstrap.answers
        rows = rows.assign(said=rows["read"] == "yes", true=rows["truth"] == "yes")
        rows = rows.assign(hit=rows["said"] & rows["true"])
        numbers = _metrics(bootstrap, rows)
        for category, part in rows.groupby("group", sort=False) if rows["group"].nunique() > 1 else ():
            numbers |= {f"{category}: {name}": draws for name, draws in _metrics(bootstrap, part).items()}
        return numbers


def _metrics(bootstrap: Bootstrap, rows: pd.DataFrame) -> dict[str, Draws]:
    hit, said, true = (mean(bootstrap, rows, name) for name in ("hit", "said", "true"))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = hit / said, hit / true, 2 * hit / (said + true)
    accuracy = mean(bootstrap, rows)
    return {"accuracy": accuracy, "precision": precision, "recall": recall, "F1": f1, "yes share": said}


def _item(category: str, number: object, image: str, question: str, content: bytes, label: str) -> UtilityItem:
    truth = label.strip().lower()
    if truth not in ("yes", "no"):
        raise DataError(f"POPE {category} {number}: label '{label}'; must be yes or no")
    return UtilityItem(
        id=f"{category}/{number}",
        unit=image,
        group=category,
        text=PROMPT.format(question.strip()),
        images=(content,),
        truth=truth,
    )
