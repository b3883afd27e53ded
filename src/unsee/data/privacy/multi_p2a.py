"""Reads the leakage part of Multi-P2A: private questions (`*_leakage_sen.json`) and insensitive ones (`*_insen.json`).

The awareness part asks for opinions about privacy in yes or no and is no leak; it is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unsee.data.privacy import PRIVACY
from unsee.data.privacy.schema import (
    OUT_OF_DOMAIN,
    Case,
    PrivacyBenchmark,
    Query,
    existing,
    read_records,
)
from unsee.errors import DataError

FILES: Mapping[str, bool] = {"multi_p2a_leakage_sen.json": True, "multi_p2a_leakage_insen.json": False}
"""The files, and whether what they ask is private."""


@PRIVACY.register("multi_p2a", paper="arXiv:2412.19496")
def load(folder: Path, images: Path | None = None) -> PrivacyBenchmark:
    """Questions that extract, infer or remember what is private, and insensitive ones about the same pictures.

    Args:
        folder: holds the two JSON files.
        images: where the image paths start; `folder` by default.

    Raises:
        DataError: a file is missing or not in this format, or images are missing.
    """
    folder = Path(folder)
    asked: dict[tuple[str, str], list[Query]] = {}
    for name, private in FILES.items():
        for index, record in enumerate(read_records(folder / name)):
            image, category, text = _read(record, f"{name}, record {index}")
            asked.setdefault((image, category), []).append(Query(text=text, private=private))
    found = existing(Path(images or folder), (image for image, _ in asked))
    cases = [
        Case(
            id=f"{image}/{category}", split=OUT_OF_DOMAIN, subject=category, image=found[image],
            private=tuple(query for query in queries if query.private),
            benign=tuple(query for query in queries if not query.private),
        )
        for (image, category), queries in asked.items()
    ]  # fmt: skip
    return PrivacyBenchmark(name="multi_p2a", cases=tuple(cases))


def _read(record: Any, where: str) -> tuple[str, str, str]:
    """Image, category and question of one record."""
    try:
        (image,), category, text = record["image"], record["category"], record["prompt"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: needs 'prompt', 'category' and one 'image' ({error!r}); fetch the file again") from error
    if not all(isinstance(value, str) and value.strip() for value in (image, category, text)):
        raise DataError(f"{where}: prompt, category or image is no text; fetch the file again")
    return image, category, text
