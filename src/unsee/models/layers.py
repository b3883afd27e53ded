"""Layers of a decoder as a recipe names them."""

from __future__ import annotations

from unsee.core.errors import ConfigError


def parse_layers(text: str, count: int, where: str) -> list[int]:
    """Parse layers written as "3", "2,5", "4-7" or "upper 4", lowest first; "all" is every layer.

    Args:
        text: the layers, counted from 0 at the embeddings.
        count: number of layers of the decoder.
        where: the start of error messages ("model.lora_layers").

    Raises:
        ConfigError: the text has another form, or a layer is out of range.
    """
    if text == "all":
        return list(range(count))
    word, _, number = text.partition(" ")
    if word == "upper" and number.strip().isdecimal():
        if not 1 <= int(number) <= count:
            raise ConfigError(f"{where}: '{text}' is out of range; the decoder has {count} layers")
        return list(range(count - int(number), count))
    found: set[int] = set()
    for part in text.split(","):
        start, dash, end = part.strip().partition("-")
        if not start.isdecimal() or not (end or start).isdecimal() or (dash and not end):
            raise ConfigError(f"{where}: must be written as 3, 2,5, 4-7, 'upper 4' or 'all', got '{text}'")
        found |= set(range(int(start), min(int(end or start), count) + 1))
        if not found or max(found) >= count:
            raise ConfigError(f"{where}: '{text}' is out of range; the decoder has the layers 0 to {count - 1}")
    return sorted(found)
