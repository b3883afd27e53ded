"""Reading the privacy part of MLLMGuard: `prompt.csv` and the images beside it."""

from __future__ import annotations

import csv
from pathlib import Path

from unsee.core.errors import DataError
from unsee.data.documents import PRIVACY
from unsee.data.documents.base import PrivacyFormat
from unsee.data.documents.schema import PrivacyBenchmark, Query, out_of_domain

_COLUMNS = ("Image", "Prompt", "Lan")
_LANGUAGE = "en"


@PRIVACY.register("mllmguard", paper="arXiv:2406.07594")
class MLLMGuard(PrivacyFormat):
    """English questions about natural pictures, all of them private.

    Deviation from the Neural Gate code: the language column chooses the rows; that code drops the first 107 rows.
    """

    def load(self, folder: Path, images: Path | None = None) -> PrivacyBenchmark:
        """Load `prompt.csv`.

        Raises:
            DataError: the file is not in this format, has no English row, or images are missing.
        """
        asked = ((row["Image"], Query(text=row["Prompt"], private=True)) for row in _english(folder / "prompt.csv"))
        return out_of_domain("mllmguard", images or folder, asked, skip_missing=self.skip_missing)


def _english(path: Path) -> list[dict[str, str]]:
    """Return the English rows of a file, each with an image and a prompt."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); give MLLMGuard's privacy folder") from error
    if lacking := [name for name in _COLUMNS if name not in columns]:
        raise DataError(f"{path}: column '{lacking[0]}' is missing (found: {', '.join(columns) or 'none'})")
    chosen = [(number, row) for number, row in enumerate(rows, start=2) if row["Lan"] == _LANGUAGE]
    if not chosen:
        raise DataError(f"{path}: no row is in English (Lan = {_LANGUAGE})")
    for number, row in chosen:
        if not (row["Image"] or "").strip() or not (row["Prompt"] or "").strip():
            raise DataError(f"{path}, line {number}: image or prompt is empty; fetch the file again")
    return [row for _, row in chosen]
