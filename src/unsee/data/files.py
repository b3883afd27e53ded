"""Reading a user's files; what is wrong with their rows is collected, so that one message says how much to mend."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from unsee.core.errors import DataError
from unsee.data.people.portraits import encode_png

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


class Problems:
    """Everything found wrong so far, in the order of finding."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, path: Path, line: int, what: str) -> None:
        """Note one problem; `line` counts from 1."""
        self._found.append(f"{path}, line {line}: {what}")

    def stop_if_any(self) -> None:
        """End the reading where there is a problem.

        Raises:
            DataError: the first problem, and how many there are.
        """
        if self._found:
            more = f" (the first of {len(self._found)} problems)" if len(self._found) > 1 else ""
            raise DataError(f"{self._found[0]}{more}")


def read_text(path: Path) -> str:
    """The text of a file, without the mark some editors begin it with.

    Raises:
        DataError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_photo(path: Path) -> tuple[bytes, str]:
    """The encoded image, upright whichever way the camera was held, and what is wrong with the file."""
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
