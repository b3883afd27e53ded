"""Reading a user's files and collecting what is wrong with their rows, so that one message says how many to correct."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from unsee.core.errors import DataError
from unsee.data.people.portraits import encode_png

_ORIENTATION = 0x0112  # the EXIF tag; 1 means upright


class Problems:
    """Problems found so far, in the order of finding."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, path: Path, line: int, what: str) -> None:
        """Add one problem; `line` counts from 1."""
        self._found.append(f"{path}, line {line}: {what}")

    def stop_if_any(self) -> None:
        """Raise an error if a problem was found.

        Raises:
            DataError: names the first problem and their number.
        """
        if self._found:
            more = f" (the first of {len(self._found)} problems)" if len(self._found) > 1 else ""
            raise DataError(f"{self._found[0]}{more}")


def read_text(path: Path) -> str:
    """Read a UTF-8 file, without the byte order mark that some editors put first.

    Raises:
        DataError: the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_photo(path: Path) -> tuple[bytes, str]:
    """Read an image file.

    Returns:
        The encoded image, turned upright as its EXIF tag says, and what is wrong with the file ("" if nothing).
    """
    try:
        encoded = path.read_bytes()
        image = Image.open(io.BytesIO(encoded))
        image.load()
        if image.getexif().get(_ORIENTATION, 1) != 1:
            encoded = encode_png(ImageOps.exif_transpose(image).convert("RGB"))
    except (FileNotFoundError, IsADirectoryError):
        return b"", f"does not exist in {path.parent}"
    except (OSError, SyntaxError, ValueError):
        return b"", "cannot be read as an image"
    return encoded, ""
