"""A sweep: one recipe over lists of values, every combination of which is a run."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import tomli_w
from pydantic import Field

from unsee.config.protocols import Table
from unsee.config.recipe import DocumentsConfig, RunConfig, build_table, load_recipe
from unsee.config.tables import RunName
from unsee.core.errors import ConfigError
from unsee.core.reading import read_toml

Value = bool | int | float | str | list[str] | list[int] | list[float]
MOST_RUNS = 1000


class SweepConfig(Table):
    """The file of a sweep.

    Attributes:
        name: the name of its folder.
        recipe: the name of a shipped recipe, or a file, relative to the sweep's own.
        set: keys of the recipe that are changed in every run.
        vary: keys of the recipe, each with the values that it takes in turn.
    """

    name: RunName
    recipe: str
    set: dict[str, Value] = Field(default_factory=dict)
    vary: dict[str, list[Value]] = Field(min_length=1)


def load_sweep(path: Path) -> tuple[SweepConfig, dict[str, RunConfig | DocumentsConfig]]:
    """Read the file of a sweep.

    Returns:
        The sweep, and the recipe of each run by the name of its folder, such as "2-seed-1".

    Raises:
        ConfigError: the file or a value cannot be used; the message names the key.
    """
    sweep = build_table(SweepConfig, read_toml(path, ConfigError))
    if empty := [key for key, values in sweep.vary.items() if not values]:
        raise ConfigError(f"vary.{empty[0]}: needs at least one value")
    if twice := [key for key in sweep.vary if key in sweep.set]:
        raise ConfigError(f"set.{twice[0]}: is varied too; leave it out of one of them")
    combinations = list(itertools.islice(itertools.product(*sweep.vary.values()), MOST_RUNS + 1))
    if len(combinations) > MOST_RUNS:
        raise ConfigError(f"vary: makes more than {MOST_RUNS} runs")
    recipe = path.parent / sweep.recipe if sweep.recipe.endswith(".toml") else sweep.recipe
    runs = {}
    for number, values in enumerate(combinations, start=1):
        varied = dict(zip(sweep.vary, values, strict=True))
        settings = [_setting(key, value) for key, value in (sweep.set | varied).items()]
        runs[_folder(number, varied)] = load_recipe(recipe, settings)
    if len({config.model_dump_json() for config in runs.values()}) < len(runs):
        raise ConfigError("vary: two runs are the same; give each value once")
    return sweep, runs


def _setting(key: str, value: Value) -> str:
    """Return a setting as `--set` takes it."""
    text = tomli_w.dumps({"value": value}).partition("=")[2]
    return f"{key}={' '.join(text.split())}"


def _folder(number: int, varied: dict[str, Value]) -> str:
    parts = (f"{key.rpartition('.')[2]}-{value}"[:40] for key, value in varied.items())
    return "-".join([str(number), *(re.sub(r"[^\w.-]+", "_", part) for part in parts)])
