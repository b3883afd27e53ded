from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field

from unsee.config.recipe import build_dataclass
from unsee.config.search import Range, search_space


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
