import math
import re
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field

from unsee.config.recipe import build_dataclass
from unsee.config.search import Range, search_space
from unsee.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of which two are searched."""

    rate: Annotated[float, Field(gt=0), Range(1e-5, 1e-2)] = 1.0
    count: Annotated[int, Range(0, 4, "linear")] = 2
    kept: float = 0.5


def test_the_space_holds_the_declared_options_alone():
    assert search_space(Options) == {"rate": Range(1e-5, 1e-2), "count": Range(0, 4, "linear")}


def test_a_range_does_not_limit_what_an_option_accepts():
    assert build_dataclass(Options, {"rate": 7.0}, "method.x").rate == 7.0


@pytest.mark.parametrize(
    ("ends", "fault"),
    [
        ((2.0, 1.0, "linear"), "the low end must be below the high end"),
        ((1.0, 1.0, "log"), "the low end must be below the high end"),
        ((0.0, 1.0, "log"), "a logarithmic range begins above 0"),
        ((1.0, math.inf, "log"), "both ends must be finite"),
        ((math.nan, 1.0, "linear"), "both ends must be finite"),
    ],
)
def test_an_empty_or_endless_range_is_refused(ends, fault):
    with pytest.raises(ValueError, match=fault):
        Range(*ends)


def test_a_range_is_read_from_the_command_line():
    assert Range.read("steps=10:40") == ("steps", Range(10, 40))
    assert Range.read(" share=0:0.5:linear") == ("share", Range(0, 0.5, "linear"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("steps", "must be option=low:high"), ("steps=10", "must be option="), ("a=1:2:sqrt", "must be option="),
        ("a=1:2:log:3", "must be option=low:high"), ("steps=a:b", "'a' is no number"), ("steps=1:", "'' is no number"),
        ("steps=40:10", "the low end must be below"), ("share=0:1", "a logarithmic range begins above 0"),
        ("a=1:1e999", "both ends must be finite"),
    ],
)  # fmt: skip
def test_what_is_no_range_is_one_sentence(text, fault):
    with pytest.raises(ConfigError, match=re.escape(f"--range {text}: {fault}")):
        Range.read(text)


def test_ranges_of_the_command_line_are_about_different_options():
    assert Range.read_all(["steps=10:40", "beta=1:2"]) == {"steps": Range(10, 40), "beta": Range(1, 2)}
    with pytest.raises(ConfigError, match="--range beta: is given twice"):
        Range.read_all(["beta=1:2", "steps=10:40", "beta=3:4"])
