"""Reading PrivacyPair, published or built here: one JSON file per subject, private and benign questions in pairs.

The published key names mislead: `paraphrase_prompts` are the private questions, `neighborhood_prompts` the benign ones.
Files built here hold more keys per record: the split, and per question the true answer, its value, and the chance of a
blind guess (`*_answers`, `*_values`, `*_chances`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError
from unsee.core.reading import read_json
from unsee.core.text import is_file_name
from unsee.data.documents import PRIVACY
from unsee.data.documents.base import PrivacyFormat
from unsee.data.documents.schema import (
    HARMLESS_SPLITS,
    SEEN,
    SPLITS,
    UNSEEN_IMAGES,
    UNSEEN_SUBJECTS,
    Case,
    PrivacyBenchmark,
    Query,
    check_disjoint,
    find_images,
    read_records,
)

FACTS = "unsee.json"
TRAINING_LIMIT = 10
REWRITES: Mapping[str, str] = {"p2_org/images/": "VISPR/", "trade&state/State Secret/": ""}
"""Prefixes of the published image paths, and the prefixes that the image archive uses instead."""


@PRIVACY.register("privacy_pair", paper="arXiv:2603.12598")
class PrivacyPairs(PrivacyFormat):
    """Six privacy subjects with pairs of a private and a benign question in the same wording."""

    def load(self, folder: Path, images: Path | None = None) -> PrivacyBenchmark:
        """Read a folder, as `load` of this module."""
        return load(folder, images, skip_missing=self.skip_missing)

    def load_without(self, subject: str, folder: Path, images: Path | None = None) -> PrivacyBenchmark:
        """Read a folder that was built here, as `load` of this module with `unseen_subject`."""
        return load(folder, images, unseen_subject=subject, skip_missing=self.skip_missing)


def load(
    folder: Path, images: Path | None = None, *, unseen_subject: str | None = None, skip_missing: bool = False
) -> PrivacyBenchmark:
    """Load every subject of a folder.

    Args:
        folder: folder that holds one JSON file per subject.
        images: folder that the image paths start from; `folder` by default.
        unseen_subject: the subject that no edit may see, in data built here; by default the one chosen at building.
        skip_missing: leave out the cases whose picture is missing; the others stay in their sets.

    Raises:
        DataError: a file, record or image cannot be used; the message says which.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.glob("*.json") if path.name != FACTS)
    if not paths:
        raise DataError(f"{folder}: holds no JSON file of PrivacyPair; `unsee privacy build` writes some")
    files = {path: read_records(path) for path in paths}
    names = [_text(record, "image", _where(path, i)) for path, rows in files.items() for i, record in enumerate(rows)]
    image_paths = find_images(Path(images or folder), names, REWRITES, skip_missing=skip_missing)
    cases = []
    for path, records in files.items():
        for index, record in enumerate(records):
            if record["image"] not in image_paths:
                continue
            where = _where(path, index)
            split = record.get("split", SEEN if index < _num_training(len(records)) else UNSEEN_IMAGES)
            cases.append(_case(record, path.stem, where, split, image_paths[record["image"]]))
    _check_unique(cases)
    if (folder / FACTS).is_file():
        check_disjoint(cases)
        cases = _hold_out(cases, unseen_subject or _facts(folder)["unseen_subject"], folder)
    elif unseen_subject is not None:
        raise DataError(f"{folder}: published data have no unseen subject; leave the option out")
    return PrivacyBenchmark(name="privacy_pair", cases=tuple(cases), skipped=len({*names} - image_paths.keys()))


def _num_training(count: int) -> int:
    """Return how many records of a published file, from the first, are for editing. The others are for testing."""
    return min(TRAINING_LIMIT, count // 3)


def _case(record: Any, stem: str, where: str, split: object, image: Path) -> Case:
    if not isinstance(split, str) or split not in SPLITS:
        raise DataError(f"{where}: unknown split '{split}' (known: {', '.join(SPLITS)})")
    rewrite = record.get("requested_rewrite")
    if not isinstance(rewrite, dict) or not isinstance(rewrite.get("target_new"), dict):
        raise DataError(f"{where}: 'requested_rewrite' with 'prompt', 'subject' and 'target_new' is missing")
    subject, prompt = _text(rewrite, "subject", where), _text(rewrite, "prompt", where)
    if prompt.count("{}") != 1:
        raise DataError(f"{where}: the prompt '{prompt}' must hold {{}} once, where the subject goes")
    make = partial(_queries, record, subject, where)
    private, benign = make("paraphrase", True), make("neighborhood", False)
    harmless = split in HARMLESS_SPLITS
    name = str(record.get("case_id", where))
    if not is_file_name(name):
        raise DataError(f"{where}: case_id '{name[:60]}' names files; it must be short and hold no slash")
    if not harmless and len(private) != len(benign):
        raise DataError(f"{where}: {len(private)} private and {len(benign)} benign questions; they come in pairs")
    request = Query(text=prompt.replace("{}", subject), private=not harmless)
    return Case(
        id=f"{stem}/{name}", split=split, subject=subject, image=image,
        refusal=_text(rewrite["target_new"], "str", where), request=request, private=private, benign=benign,
    )  # fmt: skip


def _queries(record: Mapping[str, Any], subject: str, where: str, kind: str, private: bool) -> tuple[Query, ...]:
    texts = record.get(f"{kind}_prompts")
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"{where}: '{kind}_prompts' must be a list of questions")
    if text := next((text for text in texts if subject not in text), ""):
        raise DataError(f"{where}: the subject '{subject}' is not in the question '{text}'; name it there")
    columns = {}
    for name, unknown in (("answers", ""), ("values", ""), ("chances", math.nan)):
        values = columns[name] = record.get(f"{kind}_{name}", [unknown] * len(texts))
        of = (int, float) if name == "chances" else str
        if not isinstance(values, list) or not all(isinstance(value, of) for value in values):
            raise DataError(f"{where}: {kind}_{name} must be a list of {'numbers' if name == 'chances' else 'texts'}")
        if len(columns[name]) != len(texts):
            raise DataError(
                f"{where}: {len(texts)} {kind}_prompts and {len(columns[name])} {kind}_{name}; build it again"
            )
    rows = zip(texts, columns["answers"], columns["values"], columns["chances"], strict=True)
    return tuple(
        Query(text=text, private=private, answer=answer, value=value, chance=chance)
        for text, answer, value, chance in rows
    )


def _hold_out(cases: list[Case], subject: str, folder: Path) -> list[Case]:
    """Reserve one subject for testing: keep its `unseen_images` as `unseen_subjects` and drop its other splits."""
    subjects = sorted({case.subject for case in cases if case.split == SEEN})
    if subject not in subjects:
        raise DataError(f"{folder}: unseen subject '{subject}': not among those edited on ({', '.join(subjects)})")
    remaining = [case for case in cases if case.subject != subject or case.split == UNSEEN_IMAGES]
    return [replace(case, split=UNSEEN_SUBJECTS) if case.subject == subject else case for case in remaining]


def _facts(folder: Path) -> Mapping[str, Any]:
    facts = read_json(folder / FACTS)
    if not isinstance(facts, dict) or not isinstance(facts.get("unseen_subject"), str):
        raise DataError(f"{folder / FACTS}: names no unseen_subject; build the data again")
    return facts


def _check_unique(cases: list[Case]) -> None:
    ids: set[str] = set()
    for case in cases:
        if case.id in ids:
            raise DataError(f"case {case.id}: occurs twice; give each record of a file its own case_id")
        ids.add(case.id)


def _where(path: Path, index: int) -> str:
    return f"{path.name}, record {index}"


def _text(record: Any, key: str, where: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: '{key}' is missing or empty; fetch or build the file again")
    return value
