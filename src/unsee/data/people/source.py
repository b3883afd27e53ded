"""From `data.source` and `data.training_text` of a recipe to the four sets; hub names are bound to a commit."""

from __future__ import annotations

from pathlib import Path

from unsee.config.recipe import GENERATED, DataConfig
from unsee.data.hub import find_folder
from unsee.data.people.mllmu import load
from unsee.data.people.parquet import BENCHMARK, TRAINING_TEXT
from unsee.data.schema import Benchmark


def pin(config: DataConfig) -> DataConfig:
    """The same data settings with hub names fetched and bound to the commit they stand for now.

    Raises:
        DataError: nothing is called so, here or on the hub.
    """
    if config.source == GENERATED:
        return config
    percent, text = config.forget_percent, config.training_text
    changes = {"source": _pinned(config.source, _benchmark_folder(config.source, percent, text))}
    if text:
        changes["training_text"] = _pinned(text, _training_folder(text, percent))
    return config.model_copy(update=changes)


def open_benchmark(source: str, percent: int, training_text: str = "") -> Benchmark:
    """The four sets of one forget ratio.

    Args:
        source: as `data.source` of a recipe, but not "generated".
        percent: forget ratio.
        training_text: as `data.training_text`.

    Raises:
        DataError: they cannot be found or read.
    """
    text = _training_folder(training_text, percent) if training_text else None
    return load(_benchmark_folder(source, percent, training_text), percent, text)


def _benchmark_folder(source: str, percent: int, training_text: str) -> Path:
    """The folder of the questions, and of the training text where it does not come from elsewhere."""
    configs = [*_split(percent), "Test_Set/*", "Retain_Set/*", *(() if training_text else ("ft_Data/*",))]
    return find_folder(source, configs, BENCHMARK, "dataset")


def _training_folder(training_text: str, percent: int) -> Path:
    return find_folder(training_text, _split(percent), TRAINING_TEXT, "model")


def _split(percent: int) -> list[str]:
    return [f"forget_{percent}/*", f"retain_{100 - percent}/*"]


def _pinned(source: str, folder: Path) -> str:
    return source if Path(source).expanduser().is_dir() else f"{source.partition('@')[0]}@{folder.name}"
