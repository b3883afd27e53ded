"""Privacy pairs: two questions about one picture from one wording, one to be refused and one to be answered.

A file of pairs is JSON Lines, one object per line: `image` (a path, relative to the file), `subject`, `sensitive`,
`benign`, `refusal`, and optionally `benign_answer`, `category` (by default the subject) and `case` (the image).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from unsee.errors import DataError

REQUIRED = ("image", "subject", "sensitive", "benign", "refusal")
OPTIONAL = ("benign_answer", "category", "case")
SHOWN_MISSING = 3


@dataclass(frozen=True, kw_only=True)
class PrivacyPair:
    """Two questions about one picture.

    Attributes:
        image: the encoded picture.
        subject: what the questions are about, word for word as it stands in both ("Passport").
        sensitive: the question to refuse.
        benign: the question to go on answering.
        refusal: how the refusal begins.
        benign_answer: what the unedited model says to the benign question; None where it was not asked yet.
        category: the kind of subject; one gate is learned for each.
        case: the record it comes from; pairs of one case share the picture.
    """

    image: bytes
    subject: str
    sensitive: str
    benign: str
    refusal: str
    benign_answer: str | None = None
    category: str
    case: str

    def __post_init__(self) -> None:
        for name in ("sensitive", "benign"):
            if self.subject not in getattr(self, name):
                raise DataError(f"case {self.case}: the subject '{self.subject}' is not in the {name} question")
        if not self.subject.strip() or not self.refusal.strip():
            raise DataError(f"case {self.case}: the subject and the refusal must hold words")

    def picture(self) -> Image.Image:
        """The picture decoded to RGB."""
        return Image.open(io.BytesIO(self.image)).convert("RGB")


def load_pairs(path: Path) -> list[PrivacyPair]:
    """Read a file of pairs; every row is checked before any picture is read.

    Raises:
        DataError: the file or a row cannot be used (line and key are named), or pictures are missing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    rows = [(f"{path}:{n}", _row(f"{path}:{n}", line)) for n, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f"{path}: holds no pairs")
    images = {row["image"]: path.parent / row["image"] for _, row in rows}
    missing = sorted(str(file) for file in images.values() if not file.is_file())
    if missing:
        shown = ", ".join(missing[:SHOWN_MISSING]) + (", ..." if len(missing) > SHOWN_MISSING else "")
        raise DataError(f"{path}: {len(missing)} of {len(images)} images are missing: {shown}")
    read = {name: _image(file) for name, file in images.items()}
    return [_pair(row, read[row["image"]]) for _, row in rows]


def by_case(pairs: Iterable[PrivacyPair]) -> list[list[PrivacyPair]]:
    """The pairs of each picture together, in the order in which the pictures first come."""
    return list(_grouped(pairs, lambda pair: (pair.category, pair.case)).values())


def by_category(pairs: Iterable[PrivacyPair]) -> dict[str, list[PrivacyPair]]:
    """The pairs of each category, in the order in which the categories first come."""
    return {category: group for (category,), group in _grouped(pairs, lambda pair: (pair.category,)).items()}


def _grouped(
    pairs: Iterable[PrivacyPair], key: Callable[[PrivacyPair], tuple[str, ...]]
) -> dict[tuple[str, ...], list[PrivacyPair]]:
    groups: dict[tuple[str, ...], list[PrivacyPair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return groups


def _row(where: str, line: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: is not JSON: {error}") from error
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: must be an object with {_listed(REQUIRED)}")
    if lacking := [name for name in REQUIRED if name not in row]:
        raise DataError(f"{where}: lacks {_listed(lacking)} (needed: {_listed(REQUIRED)})")
    if unknown := sorted(set(row) - {*REQUIRED, *OPTIONAL}):
        raise DataError(f"{where}: unknown key '{unknown[0]}' (known: {_listed((*REQUIRED, *OPTIONAL))})")
    for name, value in row.items():
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: {name} must be a text that is not empty")
    row = dict(row)
    for name in ("sensitive", "benign"):
        if row["subject"] not in row[name]:
            raise DataError(f"{where}: the subject '{row['subject']}' is not in the {name} question")
    return row


def _pair(row: Mapping[str, str], image: bytes) -> PrivacyPair:
    return PrivacyPair(
        image=image,
        subject=row["subject"],
        sensitive=row["sensitive"],
        benign=row["benign"],
        refusal=row["refusal"],
        benign_answer=row.get("benign_answer"),
        category=row.get("category", row["subject"]),
        case=row.get("case", row["image"]),
    )


def _image(file: Path) -> bytes:
    content = file.read_bytes()
    try:
        Image.open(io.BytesIO(content)).verify()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{file}: is not a picture that can be read") from error
    return content


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
