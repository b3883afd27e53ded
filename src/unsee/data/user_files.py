"""Reading a user's photos."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from unsee.data.people.portraits import encode_png

_ORIENTATION = 0x0112  # the EXIF tag; 1 means upright


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
