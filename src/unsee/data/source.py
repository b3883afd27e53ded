"""Where data come from: a folder, a clone, the hub's cache, or a dataset on the hub, fetched once and pinned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unsee.config import GENERATED, DataConfig
from unsee.data.configs import BENCHMARK
from unsee.data.mllmu import load
from unsee.data.schema import Benchmark
from unsee.errors import DataError

_HUB_ID = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")


def pin(config: DataConfig) -> DataConfig:
    """The same data settings with hub names fetched and bound to the commit they stand for now.

    Raises:
        DataError: nothing is called so, here or on the hub.
    """
    if config.source == GENERATED:
        return config
    split = _split(config.forget_percent)
    changes = {"source": _pinned(config.source, "dataset", [*split, *_questions(config.training_text)])}
    if config.training_text:
        changes["training_text"] = _pinned(config.training_text, "model", split)
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
    split = _split(percent)
    text = locate(training_text, "model", split) if training_text else None
    return load(locate(source, "dataset", [*split, *_questions(training_text)]), percent, text)


def locate(source: str, kind: Literal["dataset", "model"], configs: Sequence[str]) -> Path:
    """The folder with one folder per config.

    Args:
        source: a folder, the hub's cache of a dataset, or a hub name, with "@" and a revision if it is not the newest.
        kind: of repository on the hub.
        configs: what to fetch of it.

    Raises:
        DataError: nothing is called so, here or on the hub.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _snapshot(folder)
    hub = _HUB_ID.fullmatch(source)
    if not hub:
        raise DataError(
            f"{source}: no such folder, and no name on the hub such as {BENCHMARK}; `unsee build` makes a folder"
        )
    from huggingface_hub import snapshot_download

    name, revision = hub["name"], hub["revision"]
    try:
        patterns = [f"{config}/*" for config in configs]
        return Path(snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=patterns))
    except (
        Exception
    ) as error:  # the hub's client has one of its own for every fault of repository, revision and network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        asked = f" --repo-type {kind}" + (f" --revision {revision}" if revision else "")
        raise DataError(
            f"{source}: no such folder, and not to be had from the hub ({reason}); where there is a connection, run "
            f"`hf download {name}{asked} --local-dir DIR` and name DIR here"
        ) from error


def _split(percent: int) -> list[str]:
    return [f"forget_{percent}", f"retain_{100 - percent}"]


def _questions(training_text: str) -> list[str]:
    """The other configs that are read; the training text where it does not come from elsewhere."""
    return ["Test_Set", "Retain_Set", *(() if training_text else ("ft_Data",))]


def _pinned(source: str, kind: Literal["dataset", "model"], configs: Sequence[str]) -> str:
    folder = locate(source, kind, configs)
    return source if Path(source).expanduser().is_dir() else f"{source.partition('@')[0]}@{folder.name}"


def _snapshot(folder: Path) -> Path:
    """The folder itself, or of the hub's cache of a repository the version that `main` names, or the only one."""
    versions = sorted(folder.glob("snapshots/*/"))
    if not versions:
        return folder
    main = folder / "refs" / "main"
    current = folder / "snapshots" / main.read_text().strip() if main.is_file() else versions[0]
    if current not in versions or (not main.is_file() and len(versions) > 1):
        raise DataError(
            f"{folder}: a cache of the hub with {len(versions)} versions and no word which to take; "
            f"name one of them, such as {versions[-1]}"
        )
    return current
