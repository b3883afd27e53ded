"""Privacy pairs: two questions about one picture in one wording, one to refuse and one to answer.

A file of pairs is JSON Lines, one object per line. Its keys are `image` (a path relative to the file), `subject`,
`benign` and `refusal`, and optionally `sensitive` (left out where nothing is private), `benign_answer`, `request`,
`category` (by default the subject) and `case` (by default the image).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from unsee.config.arguments import checked
from unsee.core.errors import DataError
from unsee.core.reading import Problems, find_file, read_json_lines
from unsee.core.text import special_token
from unsee.data.images import decode, fault

Occurrence = Literal["last", "first"]
REQUIRED = ("image", "subject", "benign", "refusal")
OPTIONAL = ("sensitive", "benign_answer", "request", "category", "case")
QUESTIONS = ("sensitive", "benign", "request")


@dataclass(frozen=True, kw_only=True)
class PrivacyPair:
    """Two questions about one picture, or about a person by name.

    One of the two questions may be missing: everything about a person to forget may be private, and nothing about a
    person to retain or on a harmless picture is.

    Attributes:
        image: the encoded picture; None if the questions are asked without one.
        subject: the subject of the questions, word for word as both contain it ("Passport").
        sensitive: the question to refuse, or "".
        benign: the question to keep answering, or "".
        refusal: the beginning of the refusal.
        benign_answer: the unedited model's answer to the benign question; None if it was not asked yet.
        request: the sensitive question that the published gate is learned from; "" takes `sensitive`.
        category: the kind of subject; one gate is learned for each.
        case: the record of the pair; pairs of one case share the picture.
    """

    image: bytes | None
    subject: str
    sensitive: str
    benign: str
    refusal: str
    benign_answer: str | None = None
    request: str = ""
    category: str
    case: str

    def __post_init__(self) -> None:
        for name in QUESTIONS:
            if getattr(self, name) and self.subject not in getattr(self, name):
                raise DataError(f"case {self.case}: the subject '{self.subject}' is not in the {name} question")
        if not self.sensitive and not self.benign:
            raise DataError(f"case {self.case}: asks nothing; give it a sensitive or a benign question")
        if not self.subject.strip() or not self.refusal.strip():
            raise DataError(f"case {self.case}: the subject and the refusal must hold words")

    def picture(self) -> Image.Image | None:
        """Decode the picture to RGB; return None if there is none."""
        return None if self.image is None else decode(self.image, f"the picture of case {self.case}")

    def subject_start(self, question: str, occurrence: Occurrence = "last") -> int:
        """Return the position in a question at which the subject begins.

        Args:
            question: a question of the pair, or a text made from one.
            occurrence: "last" takes the last mention that is a whole word, if there is one: the subject of an
                "[attribute] of the [subject]" question. "first" takes the first mention, as the published code does,
                even within another word: in "the relevant political documents of the document" it is a part of the
                attribute.

        Raises:
            DataError: the subject is not in the question.
        """
        if self.subject not in question:
            raise DataError(f"case {self.case}: the subject '{self.subject}' is not in the question '{question}'")
        if occurrence == "first":
            return question.index(self.subject)
        words = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(self.subject)}(?!\w)", question)]
        return words[-1] if words else question.rindex(self.subject)

    def requested(self) -> PrivacyPair:
        """Return the pair with the request in place of its sensitive question."""
        return replace(self, sensitive=self.request or self.sensitive)


@checked("unsee.load_pairs")
def load_pairs(path: str | Path) -> list[PrivacyPair]:
    """Read a file of pairs with its pictures, all of which are decoded to find broken ones.

    Raises:
        ConfigError: the argument cannot be used.
        DataError: the file, rows or pictures cannot be used (the message names up to twenty lines).
    """
    path, problems = Path(path), Problems()
    rows: list[tuple[int, dict[str, str]]] = []
    for line, row in read_json_lines(path, problems):
        if what := _fault(row):
            problems.add(path, line, what)
        else:
            rows.append((line, {"category": row["subject"], "case": row["image"], **row}))
    _check_cases(path, rows, problems)
    images = {row["image"]: find_file(path.parent, row["image"]) for _, row in rows}
    lines = {row["image"]: line for line, row in reversed(rows)}
    for name, file in images.items():
        if what := fault(file, f"image '{name}'"):
            problems.add(path, lines[name], what)
    problems.stop_if_any()
    if not rows:
        raise DataError(f"{path}: holds no pairs")
    if not any("sensitive" in row for _, row in rows):
        raise DataError(f"{path}: holds no sensitive question, so there is nothing to refuse; add some")
    read = {name: file.read_bytes() for name, file in images.items()}
    return [_pair(row, read[row["image"]]) for _, row in rows]


def to_refuse(pairs: Iterable[PrivacyPair]) -> list[PrivacyPair]:
    """Return the pairs with a question to refuse."""
    return [pair for pair in pairs if pair.sensitive]


def by_case(pairs: Iterable[PrivacyPair]) -> list[list[PrivacyPair]]:
    """Group the pairs by picture, in the order in which the pictures first occur."""
    return list(_grouped(pairs, lambda pair: (pair.category, pair.case)).values())


def by_category(pairs: Iterable[PrivacyPair]) -> dict[str, list[PrivacyPair]]:
    """Group the pairs by category, in the order in which the categories first occur."""
    return {category: group for (category,), group in _grouped(pairs, lambda pair: (pair.category,)).items()}


def _grouped(
    pairs: Iterable[PrivacyPair], key: Callable[[PrivacyPair], tuple[str, ...]]
) -> dict[tuple[str, ...], list[PrivacyPair]]:
    groups: dict[tuple[str, ...], list[PrivacyPair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return groups


def _fault(row: Any) -> str:
    """Return what is wrong with a row; "" if nothing is."""
    if not isinstance(row, Mapping):
        return f"must be an object with {_listed(REQUIRED)}"
    if lacking := [name for name in REQUIRED if name not in row]:
        return f"lacks {_listed(lacking)} (needed: {_listed(REQUIRED)})"
    if unknown := sorted(set(row) - {*REQUIRED, *OPTIONAL}):
        return f"unknown key '{unknown[0]}' (known: {_listed((*REQUIRED, *OPTIONAL))})"
    for name, value in row.items():
        if not isinstance(value, str) or not value.strip():
            return f"{name} must be a text that is not empty"
        if mark := special_token(value):
            return f"{name} holds {mark}, which models do not read as text; write it in other words"
    for name in QUESTIONS:
        if row["subject"] not in row.get(name, row["subject"]):
            return f"the subject '{row['subject']}' is not in the {name} question"
    return ""


def _check_cases(path: Path, rows: Sequence[tuple[int, Mapping[str, str]]], problems: Problems) -> None:
    """Add the cases that have two pictures to the problems."""
    images: dict[tuple[str, str], str] = {}
    for line, row in rows:
        image = images.setdefault((row["category"], row["case"]), row["image"])
        if image != row["image"]:
            what = f"case '{row['case']}' has the image {row['image']} here and {image} above; name them apart"
            problems.add(path, line, what)


def _pair(row: Mapping[str, str], image: bytes) -> PrivacyPair:
    return PrivacyPair(
        image=image,
        subject=row["subject"],
        sensitive=row.get("sensitive", ""),
        benign=row["benign"],
        refusal=row["refusal"],
        benign_answer=row.get("benign_answer"),
        request=row.get("request", ""),
        category=row["category"],
        case=row["case"],
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
