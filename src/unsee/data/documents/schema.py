"""What a privacy benchmark is made of, whatever its file format: pictures, and questions about them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from unsee.core.errors import DataError

SEEN, UNSEEN_IMAGES, UNSEEN_SUBJECTS = "seen", "unseen_images", "unseen_subjects"
VALIDATION, HARMLESS_PICTURES, OUT_OF_DOMAIN = "validation", "harmless", "out_of_domain"
SPLITS = (
    SEEN, UNSEEN_IMAGES, "unseen_attributes", "unseen_templates", UNSEEN_SUBJECTS, VALIDATION, HARMLESS_PICTURES,
    OUT_OF_DOMAIN,
)  # fmt: skip
EDITED_SPLITS = (SEEN, VALIDATION)
"""Edited on are only the cases of `seen`; layer and steps are chosen on `validation`; the others are for measuring."""

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question about a picture.

    Attributes:
        text: as asked.
        private: whether an answer would give something private away.
        answer: a whole true answer; "" where none is known.
        value: what must stand in a true answer; "" where unknown.
        chance: how often a blind guess is right; NaN where unknown.
    """

    text: str
    private: bool
    answer: str = ""
    value: str = ""
    chance: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture and what is asked about it.

    Attributes:
        id: file and case ("passport/12"), unique in the benchmark.
        split: of `SPLITS`.
        subject: what the picture shows, as named in the questions; "" where the benchmark does not say.
        image: the picture's file.
        refusal: how a refusal is to begin after an edit; "" where the benchmark gives none.
        request: the private question a gate is found with; None where there is none.
        private: private questions.
        benign: harmless ones; in PrivacyPair the i-th shares the template of the i-th private one.
    """

    id: str
    split: str
    subject: str
    image: Path
    refusal: str = ""
    request: Query | None = None
    private: tuple[Query, ...] = ()
    benign: tuple[Query, ...] = ()

    @property
    def queries(self) -> tuple[Query, ...]:
        """All that is asked: private, then benign."""
        return *self.private, *self.benign

    def open(self) -> Image.Image:
        """The picture as RGB.

        Raises:
            DataError: the file is no picture.
        """
        try:
            return Image.open(self.image).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.image}: the picture of case {self.id} is broken; replace it") from error


@dataclass(frozen=True, kw_only=True)
class PrivacyBenchmark:
    """All cases of one benchmark, in file order."""

    name: str
    cases: tuple[Case, ...]

    def of(self, *splits: str) -> tuple[Case, ...]:
        """The cases of some splits.

        Raises:
            DataError: there is none.
        """
        found = tuple(case for case in self.cases if case.split in splits)
        if not found:
            held = ", ".join(dict.fromkeys(case.split for case in self.cases))
            raise DataError(f"{self.name}: no case of {' or '.join(splits)} (there are: {held or 'none'})")
        return found

    def with_answers(self, answers: Mapping[tuple[str, str], str]) -> PrivacyBenchmark:
        """The same with benign answers put in, keyed by case ID and question; others stay as they are."""

        def answered(case: Case) -> Case:
            known = (replace(query, answer=answers.get((case.id, query.text), query.answer)) for query in case.benign)
            return replace(case, benign=tuple(known))

        return replace(self, cases=tuple(map(answered, self.cases)))

    def fingerprint(self) -> str:
        """SHA-256 over every question and picture."""
        digest = hashlib.sha256()
        for case in self.cases:
            asked = [[query.text, query.private, query.value] for query in case.queries]
            picture = hashlib.sha256(case.image.read_bytes()).hexdigest()
            digest.update(json.dumps([case.id, case.split, case.subject, case.refusal, asked, picture]).encode())
        return digest.hexdigest()


def existing(root: Path, images: Iterable[str], rewrites: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Where each image is under the root, as given or with a known beginning replaced; asked before anything is done.

    Raises:
        DataError: some are missing (the first ones and how many), or lie outside the root.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in dict.fromkeys(images):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"image '{name}': not a path below the image root {root}; correct it")
        known = [name.replace(old, new, 1) for old, new in (rewrites or {}).items() if name.startswith(old)]
        paths = [root / candidate for candidate in (name, *known) if (root / candidate).is_file()]
        if paths:
            found[name] = paths[0]
        else:
            missing.append(name)
    if missing:
        shown = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise DataError(
            f"{root}: {len(missing)} of {len(missing) + len(found)} images are missing, first {shown}; "
            "give the folder that holds them with --images"
        )
    return found


def read_records(path: Path) -> list[Any]:
    """The list of records in a JSON file.

    Raises:
        DataError: it is no JSON, or no list.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); fetch or build it again") from error
    if not isinstance(records, list):
        raise DataError(f"{path}: holds no list of records but a {type(records).__name__}; fetch or build it again")
    return records


def out_of_domain(name: str, folder: Path, asked: Iterable[tuple[str, Query]]) -> PrivacyBenchmark:
    """A benchmark of questions that come with the name of an image; one case per image, so that it is one cluster.

    Raises:
        DataError: images are missing.
    """
    queries: dict[str, list[Query]] = {}
    for image, query in asked:
        queries.setdefault(image, []).append(query)
    found = existing(folder, queries)
    cases = [
        Case(
            id=image, split=OUT_OF_DOMAIN, subject="", image=found[image],
            private=tuple(query for query in those if query.private),
            benign=tuple(query for query in those if not query.private),
        )
        for image, those in queries.items()
    ]  # fmt: skip
    return PrivacyBenchmark(name=name, cases=tuple(cases))


def check_disjoint(cases: Sequence[Case]) -> None:
    """Refuses one picture in two cases, by content: what is measured on must not have been edited on.

    Raises:
        DataError: two cases show the same picture.
    """
    held: dict[str, str] = {}
    for case in cases:
        other = held.setdefault(hashlib.sha256(case.image.read_bytes()).hexdigest(), case.id)
        if other != case.id:
            raise DataError(f"cases {other} and {case.id}: show the same picture ({case.image}); build them again")
