"""Reading the leakage part of Multi-P2A: private questions (`*_leakage_sen.json`) and harmless ones (`*_insen.json`).

The awareness part is not read: it asks for opinions about privacy, and a yes or no leaks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError
from unsee.data.documents import PRIVACY
from unsee.data.documents.base import PrivacyFormat
from unsee.data.documents.schema import PrivacyBenchmark, Query, out_of_domain, read_records

FILES: Mapping[str, bool] = {"multi_p2a_leakage_sen.json": True, "multi_p2a_leakage_insen.json": False}
"""File names; True where the questions are private."""


@PRIVACY.register("multi_p2a", paper="arXiv:2412.19496")
class MultiP2A(PrivacyFormat):
    """Questions that extract, infer or recall private facts, and harmless ones about the same pictures."""

    def load(self, folder: Path, images: Path | None = None) -> PrivacyBenchmark:
        """Load the two JSON files.

        Raises:
            DataError: a file is missing or not in this format, or images are missing.
        """
        asked = [
            _read(record, private, f"{name}, record {index}")
            for name, private in FILES.items()
            for index, record in enumerate(read_records(folder / name))
        ]
        return out_of_domain("multi_p2a", images or folder, asked, skip_missing=self.skip_missing)


def _read(record: Any, private: bool, where: str) -> tuple[str, Query]:
    """Return the image name and the question of one record."""
    try:
        (image,), text = record["image"], record["prompt"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: needs a 'prompt' and one 'image' ({error!r}); fetch the file again") from error
    if not all(isinstance(value, str) and value.strip() for value in (image, text)):
        raise DataError(f"{where}: prompt or image is no text; fetch the file again")
    return image, Query(text=text, private=private)
