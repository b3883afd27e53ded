"""Finding data by name: a folder, the hub's cache of a repository, or a repository on the hub, fetched only once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unsee.core.errors import DataError
from unsee.core.reading import read_text

_HUB_ID = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")


def find_folder(source: str, patterns: Sequence[str], example: str, kind: Literal["dataset", "model"]) -> Path:
    """Return the folder that holds the data, after fetching it from the hub if needed.

    Args:
        source: a folder, the hub's cache of a repository, or a hub name, which may end in "@" and a revision.
        patterns: patterns of the files to fetch from the hub.
        example: a valid hub name, for the message.
        kind: kind of the repository on the hub.

    Raises:
        DataError: no folder and no repository has this name, or the hub cannot be reached.
    """
    if folder := folder_of(source):
        return folder
    hub = _HUB_ID.fullmatch(source)
    if not hub:
        raise DataError(f"{source}: no such folder, and no name on the hub such as {example}")
    from huggingface_hub import snapshot_download

    name, revision = hub["name"], hub["revision"]
    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # the client raises types of its own for faults of repository, revision and network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        options = f" --repo-type {kind}" + (f" --revision {revision}" if revision else "")
        raise DataError(
            f"{source}: no such folder, and it cannot be fetched from the hub ({reason}); on a machine with a "
            f"connection, run `hf download {name}{options} --local-dir DIR` and give DIR instead"
        ) from error


def folder_of(source: str) -> Path | None:
    """Return the folder that a source names, which for the hub's cache is a version in it; None if it names none.

    Raises:
        DataError: the cache has several versions, and none is marked.
    """
    folder = Path(source).expanduser()
    return _snapshot(folder) if folder.is_dir() else None


def _snapshot(folder: Path) -> Path:
    """Return the folder itself. For the hub's cache of a repository, return the version of `main`, or the only one."""
    versions = sorted(folder.glob("snapshots/*/"))
    if not versions:
        return folder
    main = folder / "refs" / "main"
    current = folder / "snapshots" / read_text(main).strip() if main.is_file() else versions[0]
    if current not in versions or (not main.is_file() and len(versions) > 1):
        raise DataError(
            f"{folder}: a cache of the hub with {len(versions)} versions, none of them marked as main; "
            f"give one of them, such as {versions[-1]}"
        )
    return current
