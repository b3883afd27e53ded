"""Exporting cases of a privacy benchmark as pairs, in memory or as the JSON Lines that `unsee edit` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from unsee.core.errors import DataError
from unsee.core.files import write
from unsee.data.documents.schema import EDITED_SPLITS, SEEN, Case, PrivacyBenchmark
from unsee.data.pairs import PrivacyPair


def as_pairs(cases: Iterable[Case]) -> list[PrivacyPair]:
    """Return the pairs of a private and a benign question of some cases, with the true benign answer if it is known.

    Harmless cases have benign questions only.
    """
    return [
        PrivacyPair(
            image=case.image.read_bytes(), subject=case.subject, sensitive=private.text if private else "",
            benign=benign.text, refusal=case.refusal, benign_answer=benign.answer or None,
            request=case.request.text if case.request and case.request.private else "",
            category=case.subject, case=case.id,
        )
        for case in cases
        for private, benign in zip(case.private or [None] * len(case.benign), case.benign, strict=True)
    ]  # fmt: skip


def write_pairs(benchmark: PrivacyBenchmark, path: Path, split: str = SEEN) -> int:
    """Write one line per pair of a private and a benign question, and return the number of pairs.

    Args:
        benchmark: the cases; their benign answers, if any, are the true ones or those of the unedited model.
        path: the file to write; image paths in it are relative to its folder.
        split: the split to write, one of `EDITED_SPLITS`.

    Raises:
        DataError: the split is for testing only, or the benchmark has no case of it.
        RecordError: the file cannot be written.
    """
    if split not in EDITED_SPLITS:
        raise DataError(f"split '{split}': edits must not use it; choose one of {', '.join(EDITED_SPLITS)}")
    lines = [json.dumps(row, ensure_ascii=False) for row in _rows(benchmark, path.parent, split)]
    write(path, "\n".join(lines) + "\n")
    return len(lines)


def _rows(benchmark: PrivacyBenchmark, folder: Path, split: str) -> Iterator[dict[str, str]]:
    for case in benchmark.of(split):
        image = os.path.relpath(case.image.resolve(), folder.resolve())
        for pair in as_pairs([case]):
            yield {name: value for name, value in vars(pair).items() if value} | {"image": image}
