"""Reading the privacy part of MLLMGuard: `prompt.csv` and the images beside it."""

from __future__ import annotations

from pathlib import Path

from unsee.core.errors import DataError
from unsee.core.reading import Problems, read_csv
from unsee.data.documents import PRIVACY
from unsee.data.documents.base import PrivacyFormat
from unsee.data.documents.schema import PrivacyBenchmark, Query, out_of_domain

_COLUMNS = ("image", "prompt", "lan")
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
        asked = ((row["image"], Query(text=row["prompt"], private=True)) for row in _english(folder / "prompt.csv"))
        return out_of_domain("mllmguard", images or folder, asked, skip_missing=self.skip_missing)


def _english(path: Path) -> list[dict[str, str]]:
    """Return the English rows of a file, each with an image and a prompt."""
    if not path.is_file():
        raise DataError(f"{path}: does not exist; give MLLMGuard's privacy folder")
    table, problems = read_csv(path, _COLUMNS), Problems()
    columns = table.keys(path, _COLUMNS)
    chosen = []
    for row in table.rows:
        cells = dict(zip(columns, row.cells, strict=False))
        if cells.get("lan") != _LANGUAGE:
            continue
        if not cells["image"].strip() or not cells.get("prompt", "").strip():
            problems.add(path, row.line, "image or prompt is empty; fetch the file again")
        chosen.append(cells)
    problems.stop_if_any()
    if not chosen:
        raise DataError(f"{path}: no row is in English (Lan = {_LANGUAGE})")
    return chosen
