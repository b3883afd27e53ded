"""Types of a privacy benchmark, whatever its file format: cases of one picture with questions about it."""

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
from unsee.core.reading import find_file, is_file, leaves_folder, read_json
from unsee.data.images import check_all, decode

SEEN, SEEN_PRIVATE, UNSEEN_IMAGES, UNSEEN_SUBJECTS = "seen", "seen_private", "unseen_images", "unseen_subjects"
FURTHER_PRIVATE, FURTHER_HARMLESS = "further_private", "further_harmless"
VALIDATION, OUT_OF_DOMAIN = "validation", "out_of_domain"
HARMLESS_PICTURES, SEEN_HARMLESS, UNSEEN_HARMLESS = "harmless", "seen_harmless", "unseen_harmless"
HARMLESS_SPLITS = (HARMLESS_PICTURES, SEEN_HARMLESS, FURTHER_HARMLESS, UNSEEN_HARMLESS)
"""Pictures without anything private: of the two kinds that the base model was taught, of kinds from which edits may
learn, of kinds that no edit sees."""
SPLITS = (
    SEEN, SEEN_PRIVATE, UNSEEN_IMAGES, "unseen_attributes", "unseen_templates", UNSEEN_SUBJECTS, VALIDATION,
    FURTHER_PRIVATE, *HARMLESS_SPLITS, OUT_OF_DOMAIN,
)  # fmt: skip
EDITED_SPLITS = (SEEN, SEEN_PRIVATE, FURTHER_PRIVATE, SEEN_HARMLESS, FURTHER_HARMLESS, VALIDATION)
"""Edits learn from all but the last; layer and steps are chosen on `validation`. Others are for testing."""

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question about a picture.

    Attributes:
        text: the question.
        private: True if an answer would give something private away.
        answer: a whole true answer; "" if none is known.
        value: the text that a true answer must contain; "" if unknown.
        chance: probability that a blind guess is right; NaN if unknown.
    """

    text: str
    private: bool
    answer: str = ""
    value: str = ""
    chance: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture and the questions about it.

    Attributes:
        id: file and case ("passport/12"), unique in the benchmark.
        split: one of `SPLITS`.
        subject: the thing on the picture, as the questions name it; "" if the benchmark does not name it.
        image: file of the picture.
        refusal: beginning of the refusal that an edit teaches; "" if the benchmark gives none.
        request: the private question that the neuron gate is learned from; None if the benchmark has none.
        private: private questions.
        benign: harmless questions; in PrivacyPair the i-th shares the wording of the i-th private one.
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
        """All questions: private ones, then benign ones."""
        return *self.private, *self.benign

    def open(self) -> Image.Image:
        """Open the picture as RGB.

        Raises:
            DataError: the file cannot be read as a picture.
        """
        return decode(self.image, f"{self.image}: the picture of case {self.id}")


@dataclass(frozen=True, kw_only=True)
class PrivacyBenchmark:
    """All cases of one benchmark, in file order.

    Attributes:
        name: its name.
        cases: the cases.
        skipped: number of pictures that were missing, whose cases are left out.
    """

    name: str
    cases: tuple[Case, ...]
    skipped: int = 0

    def of(self, *splits: str) -> tuple[Case, ...]:
        """Return the cases of some splits.

        Raises:
            DataError: the benchmark has no case of them.
        """
        cases = tuple(case for case in self.cases if case.split in splits)
        if not cases:
            known = ", ".join(dict.fromkeys(case.split for case in self.cases))
            raise DataError(f"{self.name}: no case of {' or '.join(splits)} (found: {known or 'none'})")
        return cases

    def with_answers(self, answers: Mapping[tuple[str, str], str]) -> PrivacyBenchmark:
        """Return a copy with some benign answers replaced. `answers` is keyed by case ID and question."""

        def answered(case: Case) -> Case:
            known = (replace(query, answer=answers.get((case.id, query.text), query.answer)) for query in case.benign)
            return replace(case, benign=tuple(known))

        return replace(self, cases=tuple(map(answered, self.cases)))

    def fingerprint(self) -> str:
        """Return the SHA-256 of all questions and pictures."""
        digest = hashlib.sha256()
        for case in self.cases:
            asked = [[query.text, query.private, query.value] for query in case.queries]
            picture = hashlib.sha256(case.image.read_bytes()).hexdigest()
            digest.update(json.dumps([case.id, case.split, case.subject, case.refusal, asked, picture]).encode())
        return digest.hexdigest()


def find_images(
    root: Path, images: Iterable[str], rewrites: Mapping[str, str] | None = None, *, skip_missing: bool = False
) -> dict[str, Path]:
    """Return the path of each image under the root. Loaders call this before they do any other work.

    Args:
        root: folder that the names start from.
        images: names of the images.
        rewrites: prefixes of names to replace, tried for images that do not exist under their own name.
        skip_missing: leave out the images that are missing, unless all are.

    Raises:
        DataError: images are missing or cannot be used (the first of them and their number are named), or lie outside
            the root.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in dict.fromkeys(images):
        if leaves_folder(name):
            raise DataError(f"image '{name}': not a path below the image root {root}; correct it")
        rewritten = [name.replace(old, new, 1) for old, new in (rewrites or {}).items() if name.startswith(old)]
        paths = [path for one in (name, *rewritten) if is_file(path := find_file(root, one))]
        if paths:
            found[name] = paths[0]
        else:
            missing.append(name)
    if missing and not (skip_missing and found):
        shown = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise DataError(
            f"{root}: {len(missing)} of {len(missing) + len(found)} images are missing, first {shown}; "
            "give the folder that holds them with --images"
            + ("" if skip_missing else ", or leave them out with --skip-missing (privacy.skip_missing in a recipe)")
        )
    check_all((path, f"image '{path}'") for path in found.values())
    return found


def read_records(path: Path) -> list[Any]:
    """Read the list of records in a JSON file.

    Raises:
        DataError: the file is not JSON, or not a list.
    """
    records = read_json(path)
    if not isinstance(records, list):
        raise DataError(f"{path}: must be a list of records, got {type(records).__name__}; fetch or build it again")
    return records


def out_of_domain(
    name: str, folder: Path, asked: Iterable[tuple[str, Query]], *, skip_missing: bool = False
) -> PrivacyBenchmark:
    """Return a benchmark with one case per image, so that the questions about an image are resampled together.

    Args:
        name: name of the benchmark.
        folder: folder of the images.
        asked: image names, each with a question about it.
        skip_missing: leave out the images that are missing.

    Raises:
        DataError: images are missing.
    """
    queries: dict[str, list[Query]] = {}
    for image, query in asked:
        queries.setdefault(image, []).append(query)
    image_paths = find_images(folder, queries, skip_missing=skip_missing)
    cases = [
        Case(
            id=image, split=OUT_OF_DOMAIN, subject="", image=image_paths[image],
            private=tuple(query for query in about_image if query.private),
            benign=tuple(query for query in about_image if not query.private),
        )
        for image, about_image in queries.items()
        if image in image_paths
    ]  # fmt: skip
    return PrivacyBenchmark(name=name, cases=tuple(cases), skipped=len(queries) - len(cases))


def check_disjoint(cases: Sequence[Case]) -> None:
    """Check that no two cases show the same picture (by content), so that no test picture was edited on.

    Raises:
        DataError: two cases show the same picture.
    """
    first_cases: dict[str, str] = {}
    for case in cases:
        other = first_cases.setdefault(hashlib.sha256(case.image.read_bytes()).hexdigest(), case.id)
        if other != case.id:
            raise DataError(f"cases {other} and {case.id}: show the same picture ({case.image}); build them again")
