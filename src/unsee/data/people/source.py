"""Finds and reads the data that `data.source`, `data.format` and `data.training_text` of a recipe name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unsee.config.arguments import checked
from unsee.config.recipe import GENERATED, DataConfig, build_dataclass
from unsee.core.errors import DataError
from unsee.data.hub import find_folder, folder_of
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset
from unsee.data.schema import Benchmark

SOME_HUB_NAME = "owner/name"
FOUND = "auto"
"""The format that is found from the name on the hub or the files."""
OWN_FORMAT = "mllmu"
"""What `unsee build` writes. It is taken for a folder of no known format, and then says what the folder lacks."""


def pin(config: DataConfig) -> DataConfig:
    """Return the settings with everything settled that depends on the data, after fetching these from the hub.

    Each hub name is bound to its current commit, the format is found, and where the recipe gives no forget ratio and
    the data lack the default, the largest that they have is taken.

    Raises:
        UnknownNameError: no dataset has the name of the format.
        ConfigError: an option of the format is wrong.
        DataError: a name is neither a folder nor on the hub, or the data lack the forget ratio.
    """
    if config.source == GENERATED:
        return config
    format = config.format if config.format != FOUND else find_format(config.source)
    dataset = _dataset(format, config.options)
    given = config.forget_percent if "forget_percent" in config.model_fields_set else None
    percent = _percent(dataset, config.source, given)
    folder, text = _find(dataset, config.source, percent, config.training_text)
    changes: dict[str, object] = {
        "source": _pinned(config.source, folder), "format": format, "forget_percent": percent,
    }  # fmt: skip
    if text:
        changes["training_text"] = _pinned(config.training_text, text)
    return config.model_copy(update=changes)


@checked("unsee.load")
def open_benchmark(
    source: str | Path,
    percent: int | None = None,
    training_text: str = "",
    format: str = FOUND,
    options: Mapping[str, object] | None = None,
) -> Benchmark:
    """Return the four sets of one forget ratio; this is `unsee.load`.

    Args:
        source: as `data.source` of a recipe: a folder of any format, or a name on the hub; but not "generated".
        percent: forget ratio; by default 15, or the largest that the data have.
        training_text: as `data.training_text`.
        format: as `data.format`.
        options: as `data.options`.

    Raises:
        UnknownNameError: no dataset has the name of the format.
        ConfigError: an argument or an option of the format is wrong.
        DataError: the data cannot be found or read.
    """
    source = str(source)
    dataset = open_dataset(source, format, options)
    percent = _percent(dataset, source, percent)
    folder, text = _find(dataset, source, percent, training_text)
    benchmark = dataset.load(folder, percent, text)
    licence = [f"licence: {dataset.licence}"] if dataset.licence else []
    return replace(benchmark, notes=(*licence, *benchmark.notes))


def open_dataset(source: str, format: str = FOUND, options: Mapping[str, object] | None = None) -> Dataset:
    """Return the format of some data, given or found, with its options.

    Raises:
        UnknownNameError: no dataset has the name of the format.
        ConfigError: an option of the format is wrong.
        DataError: the format cannot be found.
    """
    return _dataset(format if format != FOUND else find_format(source), options or {})


def percent_of(source: str, format: str = FOUND, percent: int | None = None) -> int:
    """Return the forget ratio; by default as in `open_benchmark`.

    Raises:
        UnknownNameError: no dataset has the name of the format.
        DataError: the format cannot be found, or the data lack the ratio.
    """
    return _percent(open_dataset(source, format), source, percent)


def find_format(source: str) -> str:
    """Return the name of the format of a folder or of a name on the hub.

    Raises:
        DataError: the files fit several formats.
    """
    formats: dict[str, type[Dataset]] = DATASETS.usable()
    folder = folder_of(source)
    if folder is None:
        name = source.partition("@")[0]
        found = [format for format, cls in formats.items() if name in (cls.hub, *cls.mirrors)]
    else:
        found = [format for format, cls in formats.items() if cls.recognises(folder)]
    if len(found) > 1:
        raise DataError(f"{source}: fits the formats {' and '.join(found)}; choose one with data.format")
    return found[0] if found else OWN_FORMAT


def _dataset(format: str, options: Mapping[str, object]) -> Dataset:
    dataset: Dataset = build_dataclass(DATASETS.get(format), options, "data.options")
    return dataset


def _percent(dataset: Dataset, source: str, percent: int | None) -> int:
    default = 15
    if percent is None:
        return default if default in dataset.percents else max(dataset.percents)
    if percent not in dataset.percents and dataset.percents != Dataset.percents:
        known = ", ".join(map(str, dataset.percents))
        raise DataError(f"{source}: has no forget set of {percent} %; set data.forget_percent to one of {known}")
    return percent


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
