"""Picture files of every kind, made in memory, and some that are broken."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tiny
from PIL import Image

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # a copy, because writing leaves settings in the image
    return file.getvalue()


def grey(height: int = 12, width: int = 16) -> np.ndarray:
    """Every shade in steps, as 8 bits."""
    return np.linspace(0, 255, height * width).astype(np.uint8).reshape(height, width)


def png16(values: np.ndarray, transparent: int | None = None) -> bytes:
    """A PNG of 16 bits, grey (H, W) or colour (H, W, 3), in which one value of every channel is transparent."""
    height, width, *channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    blank = b"" if transparent is None else struct.pack(">H", transparent) * (channels[0] if channels else 1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2 if channels else 0, 0, 0, 0)), (b"tRNS", blank)]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return png_of(*(chunk for chunk in chunks if chunk[1] or chunk[0] == b"IEND"))


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    parts = (struct.pack(">I", len(data)) + kind + data + _sum(kind + data) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def huge_png(width: int, height: int) -> bytes:
    """The beginning of a PNG of one bit a pixel: the size is there, the pixels are not."""
    return png_of((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b""))


def broken() -> dict[str, bytes]:
    """Files that must be refused, by what is wrong with them."""
    jpeg = encoded(tiny.photo(3), "JPEG")
    return {
        "half a JPEG": jpeg[: len(jpeg) // 2],
        "half a PNG": tiny.png(3)[: len(tiny.png(3)) // 2],
        "too many pixels": huge_png(20_000, 20_000),
        "too narrow": encoded(Image.new("RGB", (5_000, 20))),
        "too small": encoded(Image.new("RGB", (1, 1))),
        "a web page": b"<!DOCTYPE html><title>Not found</title>",
        "nothing": b"",
    }


def _sum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))
