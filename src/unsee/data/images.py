"""The one place where picture files are decoded: an upright RGB picture comes out, or one sentence that says why not.

Formats are those of `FORMATS`, and HEIC if pillow-heif is installed; of several frames or pages, the first is taken.
Transparent parts are put on white, deep greys are scaled to 8 bits, and the EXIF rotation is applied.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from unsee.core.errors import DataError, several

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it logs of a broken file is on the terminal too

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
PIXELS_USED = 2**24
"""Larger pictures are shrunk to this size when they are read: the largest image processor (Qwen3-VL) uses no more."""
PREVIEW_PIXELS = 512

_MOST_PIXELS = 4 * PIXELS_USED  # a whole picture is decoded before it can be shrunk, in four bytes for each pixel
_MOST_PIXELS_JPEG = 4 * _MOST_PIXELS  # JPEG is decoded at half size or less
_LEAST_SIDE_PIXELS = 4  # image processors take a side of 1 or 3 pixels for the three colours
_MOST_ELONGATED = 100  # Qwen's image processors refuse 200
_EIGHT_BITS, _SIXTEEN_BITS = 2**8 - 1, 2**16 - 1
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LFS_POINTER = b"version https://git-lfs"


def decode(encoded: bytes | Path, where: str, background: str = "white") -> Image.Image:
    """Decode a whole picture to RGB.

    Args:
        encoded: a picture file or its content.
        where: names the picture and begins the message of an error ("image 'ada.jpg'").
        background: the colour under transparent parts.

    Raises:
        DataError: the file is missing, broken, no picture or in another format, or the picture is too large, too small
            or too narrow.
    """
    with _read(encoded, where) as image:
        return _rgb(_within_limits(image, where), background)


def fault(encoded: bytes | Path, where: str) -> str:
    """Decode a whole picture, and return the sentence about what is wrong with it, or "" if nothing is."""
    try:
        decode(encoded, where)
    except DataError as error:
        return str(error)
    return ""


def check_all(pictures: Iterable[tuple[bytes | Path, str]]) -> None:
    """Decode every picture, each given with its `where`.

    Raises:
        DataError: pictures cannot be used; the message names up to twenty, and the number of the others.
    """
    faults = [what for encoded, where in pictures if (what := fault(encoded, where))]
    if faults:
        raise DataError(several(faults))


def ending(encoded: bytes | Path, where: str) -> str:
    """Return the ending of the names of files in the format of a picture, without its dot.

    Raises:
        DataError: as `decode`; only the header is read.
    """
    with _read(encoded, where) as image:
        return {"JPEG": "jpg", "MPO": "jpg"}.get(str(image.format), str(image.format).lower())


def preview(image: Image.Image) -> bytes:
    """Return the image as PNG for a page, shrunk until no side is longer than `PREVIEW_PIXELS`."""
    image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    return encode_png(image)


def encode_png(image: Image.Image) -> bytes:
    """Return the image as PNG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def _read(encoded: bytes | Path, where: str) -> Iterator[Image.Image]:
    """Open a picture; errors within the block become a `DataError`, and warnings are silent."""
    try:
        with warnings.catch_warnings(), _stream(encoded, where) as stream:
            warnings.simplefilter("ignore")  # about files that are odd but can be read
            yield _opened(stream, where)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{where} cannot be read as an image; save it as JPEG or PNG") from error
    except Exception as error:  # on broken files, the readers of Pillow raise errors of a dozen types
        what = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where} cannot be read as an image ({what}); replace it") from error


def _stream(encoded: bytes | Path, where: str) -> BinaryIO:
    if isinstance(encoded, bytes):
        return io.BytesIO(encoded)
    if not encoded.is_file():  # a device or a pipe might never end
        raise DataError(f"{where} {'is not a file' if encoded.exists() else 'does not exist'} in {encoded.parent}")
    return encoded.open("rb")


def _opened(stream: BinaryIO, where: str) -> Image.Image:
    """Read the header only.

    Raises:
        DataError: the file is HEIC, which cannot be read here, or a git-LFS pointer.
    """
    start = stream.read(64)
    stream.seek(0)
    if start.startswith(_LFS_POINTER):
        raise DataError(f"{where} is a git-LFS pointer instead of the image; run `git lfs pull` where it came from")
    is_heic = start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS and b"avif" not in start
    if is_heic:
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise DataError(
                f"{where} is a HEIC image; run `pip install 'unsee[heic]'` to read it, or convert it to JPEG"
            ) from error
        register_heif_opener()
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # its error would not say width and height
    try:
        return Image.open(stream, formats=("HEIF",) if is_heic else FORMATS)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _within_limits(image: Image.Image, where: str) -> Image.Image:
    """Return an opened image that can be decoded; a large JPEG is set to be decoded at a lower resolution.

    Raises:
        DataError: it has too many pixels, too few, or is too narrow.
    """
    most = _MOST_PIXELS_JPEG if image.format in ("JPEG", "MPO") else _MOST_PIXELS
    size = f"{where} has {image.width:,} x {image.height:,} pixels"
    if image.width * image.height > most:
        raise DataError(f"{size}; at most {most // 10**6} million are read, so make it smaller")
    if min(image.size) < _LEAST_SIDE_PIXELS:
        raise DataError(f"{size}, too few to show anything; give another image")
    if max(image.size) > _MOST_ELONGATED * min(image.size):
        raise DataError(f"{size}; no side may be more than {_MOST_ELONGATED} times the other, so cut it")
    if image.width * image.height > PIXELS_USED:
        image.draft(None, _shrunk(image.size))
    return image


def _shrunk(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture that has at most `PIXELS_USED` pixels."""
    share = min(1.0, math.sqrt(PIXELS_USED / (size[0] * size[1])))
    return int(size[0] * share), int(size[1] * share)


def _rgb(image: Image.Image, background: str) -> Image.Image:
    """Decode an opened image and bring it upright, to 8 bits, to at most `PIXELS_USED` and onto the background."""
    image.load()
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing of the image itself
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    colour = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(colour, tuple) and max(colour) > _EIGHT_BITS:
        image.info["transparency"] = tuple(value >> 8 for value in colour)  # Pillow leaves it in the file's 16 bits
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.width * image.height > PIXELS_USED:
        image = image.resize(_shrunk(image.size), Image.Resampling.LANCZOS)
    if image.mode == "RGB":
        return image
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image)
    return canvas


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 or 32 bits in 8 bits; a transparent value becomes white.

    The values of modes "I" and "F" have no fixed range: real numbers up to 1 are taken for shares of white, others up
    to 255 for 8 bits and up to 65,535 for 16 bits, and all else is stretched from the smallest to the largest.
    """
    values: NDArray[Any] = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (low >= 0 and _EIGHT_BITS < high <= _SIXTEEN_BITS):
        eight = values // 256  # so that white stays white, whether it was written as 255 x 256 or as 255 x 257
    elif low < 0 or high > _SIXTEEN_BITS:
        eight = (values.astype(np.float32) - low) * (255 / max(high - low, 1))
    else:
        eight = values * 255 if values.dtype.kind == "f" and high <= 1 else values
    eight = np.rint(eight).astype(np.uint8)
    eight[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(eight)
