"""Finds and reads the data that `data.source`, `data.format` and `data.training_text` of a recipe name."""

from __future__ import annotations

from pathlib import Path

from unsee.config.recipe import GENERATED, DataConfig
from unsee.core.errors import DataError
from unsee.data.hub import find_folder
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset
from unsee.data.schema import Benchmark

SOME_HUB_NAME = "owner/name"


def pin(config: DataConfig) -> DataConfig:
    """Fetch data from the hub, and return the settings with each hub name bound to its current commit.

    Raises:
        UnknownNameError: no dataset has the name of the format.
        DataError: a name is neither a folder nor on the hub.
    """
    if config.source == GENERATED:
        return config
    folder, text = _find(_dataset(config.format), config.source, config.forget_percent, config.training_text)
    changes = {"source": _pinned(config.source, folder)}
    if text:
        changes["training_text"] = _pinned(config.training_text, text)
    return config.model_copy(update=changes)


def open_benchmark(source: str, percent: int, training_text: str = "", format: str = "mllmu") -> Benchmark:
    """Return the four sets of one forget ratio.

    Args:
        source: as `data.source` of a recipe, but not "generated".
        percent: forget ratio.
        training_text: as `data.training_text`.
        format: as `data.format`.

    Raises:
        UnknownNameError: no dataset has the name of the format.
        DataError: the data cannot be found or read.
    """
    dataset = _dataset(format)
    folder, text = _find(dataset, source, percent, training_text)
    return dataset.load(folder, percent, text)


def _dataset(format: str) -> Dataset:
    dataset: Dataset = DATASETS.get(format)()
    return dataset


def _find(dataset: Dataset, source: str, percent: int, training_text: str) -> tuple[Path, Path | None]:
    """Return the folder of the questions, and that of the training text if it is another one."""
    files = dataset.files(percent, with_training_text=not training_text)
    folder = find_folder(source, files, dataset.hub or SOME_HUB_NAME, "dataset")
    if not training_text:
        return folder, None
    if not dataset.training_hub:
        raise DataError(f"data.training_text: data of this format hold their training text; leave out {training_text}")
    hub, kind = dataset.training_hub, dataset.training_kind
    return folder, find_folder(training_text, dataset.training_files(percent), hub, kind)


def _pinned(source: str, folder: Path) -> str:
    return source if Path(source).expanduser().is_dir() else f"{source.partition('@')[0]}@{folder.name}"
