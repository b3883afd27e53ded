"""The ranges in which options may be searched, declared beside the options."""

from __future__ import annotations

import typing
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
        """Refuse an empty range."""
        if self.low >= self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"a range from {self.low} to {self.high} ({self.scale}) holds no values to search")

    @classmethod
    def read(cls, text: str) -> tuple[str, Range]:
        """Read "option=low:high", a range on a logarithmic scale; "option=low:high:linear" is on a linear one.

        Raises:
            ConfigError: the text is something else, or the range is empty.
        """
        name, _, ends = text.partition("=")
        try:
            low, high, *scale = ends.split(":")
            (spread,) = scale or ["log"]
            if spread not in ("log", "linear"):
                raise ValueError(f"the scale is '{spread}'; choose log or linear")
            return name.strip(), cls(float(low), float(high), "log" if spread == "log" else "linear")
        except ValueError as error:
            raise ConfigError(f"--range {text}: must be option=low:high, such as steps=10:40 ({error})") from None

    def clipped(self, value: float) -> float:
        """Return the value within the range that is nearest to the given one."""
        return min(max(value, type(value)(self.low)), type(value)(self.high))


def search_space(cls: type) -> dict[str, Range]:
    """Return the declared range of each option of a dataclass that has one, by name."""
    types = typing.get_type_hints(cls, include_extras=True)
    found = {name: [one for one in typing.get_args(kind) if isinstance(one, Range)] for name, kind in types.items()}
    return {name: ranges[0] for name, ranges in found.items() if ranges}
