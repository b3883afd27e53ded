"""The ranges in which options may be searched, declared beside the options."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from unsee.core.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """The values among which to search an option, both ends included.

    It stands beside the option's type: `beta: Annotated[PositiveFloat, Range(0.05, 2)] = 0.1`. What the option accepts
    may be more, and its default may lie outside. An option without a range is not searched.

    Attributes:
        low: the lowest value; > 0 on a logarithmic scale.
        high: the highest value.
        scale: spread values by their ratio ("log") or by their difference ("linear").
    """

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"

    def __post_init__(self) -> None:
        """Refuse an empty or endless range."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("both ends must be finite")
        if self.low >= self.high:
            raise ValueError("the low end must be below the high end")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0; a range that ends in :linear may begin anywhere")

    @classmethod
    def read(cls, text: str) -> tuple[str, Range]:
        """Read "option=low:high", a range on a logarithmic scale; "option=low:high:linear" is on a linear one.

        Raises:
            ConfigError: the text is something else, or the range is empty.
        """
        name, _, range_text = text.partition("=")
        low, *rest = range_text.split(":")
        if not rest or rest[1:] not in ([], ["log"], ["linear"]):
            raise ConfigError(f"--range {text}: must be option=low:high or option=low:high:linear, such as steps=10:40")
        try:
            return name.strip(), cls(_number(low), _number(rest[0]), "linear" if rest[1:] == ["linear"] else "log")
        except ValueError as error:
            raise ConfigError(f"--range {text}: {error}") from None

    @classmethod
    def read_all(cls, texts: Iterable[str]) -> dict[str, Range]:
        """Read several such texts, each about another option.

        Raises:
            ConfigError: a text is none, or two are about one option.
        """
        ranges: dict[str, Range] = {}
        for name, one in map(cls.read, texts):
            if name in ranges:
                raise ConfigError(f"--range {name}: is given twice; give one range of each option")
            ranges[name] = one
        return ranges

    def clipped(self, value: float) -> float:
        """Return the value within the range that is nearest to the given one."""
        return min(max(value, type(value)(self.low)), type(value)(self.high))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text}' is no number") from None


def search_space(cls: type) -> dict[str, Range]:
    """Return the declared range of each option of a dataclass that has one, by name."""
    types = typing.get_type_hints(cls, include_extras=True)
    found = {name: [one for one in typing.get_args(kind) if isinstance(one, Range)] for name, kind in types.items()}
    return {name: ranges[0] for name, ranges in found.items() if ranges}
