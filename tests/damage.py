"""Three ways in which a disk spoils a file."""

from __future__ import annotations


def truncated(content: bytes) -> bytes:
    """The first half."""
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit changed, a third from the end."""
    place = len(content) * 2 // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def emptied(content: bytes) -> bytes:
    """Nothing."""
    return content[:0]


DAMAGES = [truncated, flipped, emptied]
