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


@pytest.mark.parametrize("wrong", [(2.0, 1.0, "linear"), (1.0, 1.0, "log"), (0.0, 1.0, "log")])
def test_an_empty_range_is_refused(wrong):
    with pytest.raises(ValueError, match="holds no values"):
        Range(*wrong)


def test_a_range_is_read_from_the_command_line():
    assert Range.read("steps=10:40") == ("steps", Range(10, 40))
    assert Range.read(" share=0:0.5:linear") == ("share", Range(0, 0.5, "linear"))


@pytest.mark.parametrize(
    "text", ["steps", "steps=10", "steps=a:b", "steps=40:10", "share=0:1", "a=1:2:sqrt", "a=1:2:log:3"]
)
def test_what_is_no_range_is_one_sentence(text):
    with pytest.raises(ConfigError, match=re.escape(f"--range {text}: must be option=low:high")):
        Range.read(text)
