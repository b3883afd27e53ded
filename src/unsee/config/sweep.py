"""A sweep: one recipe over lists of values, every combination of which is a run."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field

from unsee.config.protocols import Table
from unsee.config.reasons import shown
from unsee.config.recipe import DocumentsConfig, RunConfig, build_table, load_recipe
from unsee.config.tables import RunName
from unsee.core.errors import ConfigError
from unsee.core.reading import read_toml

Value = bool | int | float | str | list[bool | int | float | str]
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
    set: dict[str, Any] = Field(default_factory=dict)
    vary: dict[str, list[Any]] = Field(min_length=1)


def load_sweep(path: Path) -> tuple[SweepConfig, dict[str, RunConfig | DocumentsConfig]]:
    """Read the file of a sweep.

    Returns:
        The sweep, and the recipe of each run by the name of its folder, such as "2-seed-1".

    Raises:
        ConfigError: the file or a value cannot be used; the message names the key.
    """
    try:
        sweep = build_table(SweepConfig, read_toml(path, ConfigError))
        return sweep, _runs(sweep, path.parent)
    except ConfigError as error:
        raise error if str(error).startswith(f"{path}:") else ConfigError(f"{path}: {error}") from None


def _runs(sweep: SweepConfig, beside: Path) -> dict[str, RunConfig | DocumentsConfig]:
    for key, values in sweep.vary.items():
        if not values:
            raise ConfigError(f"vary.{key}: needs at least one value")
        if key in sweep.set:
            raise ConfigError(f"set.{key}: is varied too; leave it out of one of them")
    for key, value in (*sweep.set.items(), *((key, value) for key, values in sweep.vary.items() for value in values)):
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, bool | int | float | str) for part in parts):
            raise ConfigError(f"{key}: takes texts, numbers, true, false, and lists of these, got {shown(value)}")
    combinations = list(itertools.islice(itertools.product(*sweep.vary.values()), MOST_RUNS + 1))
    if len(combinations) > MOST_RUNS:
        raise ConfigError(f"vary: makes more than {MOST_RUNS} runs")
    recipe = beside / sweep.recipe if sweep.recipe.endswith(".toml") else sweep.recipe
    runs = {}
    for number, combination in enumerate(combinations, start=1):
        varied = dict(zip(sweep.vary, combination, strict=True))
        settings = [_setting(key, value) for key, value in (sweep.set | varied).items()]
        runs[_folder(number, varied)] = load_recipe(recipe, settings)
    if len({config.model_dump_json() for config in runs.values()}) < len(runs):
        raise ConfigError("vary: two runs are the same; give each value once")
    return runs


def _setting(key: str, value: Value) -> str:
    """Return a setting as `--set` takes it."""
    text = tomli_w.dumps({"value": value}).partition("=")[2]
    return f"{key}={' '.join(text.split())}"


def _folder(number: int, varied: dict[str, Value]) -> str:
    parts = (f"{key.rpartition('.')[2]}-{value}"[:40] for key, value in varied.items())
    return "-".join([str(number), *(re.sub(r"[^\w.-]+", "_", part) for part in parts)])
