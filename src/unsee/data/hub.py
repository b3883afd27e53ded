"""Data by the name of a folder, of the hub's cache of a repository, or of a repository on the hub, fetched once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unsee.core.errors import DataError

_HUB_ID = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")


def find_folder(source: str, patterns: Sequence[str], example: str, kind: Literal["dataset", "model"]) -> Path:
    """The folder that holds the data.

    Args:
        source: a folder, the hub's cache of a repository, or a hub name, with "@" and a revision if it is not the
            newest.
        patterns: of the files to fetch from the hub.
        example: a hub name that would do, for the message.
        kind: of repository on the hub.

    Raises:
        DataError: nothing is called so, here or on the hub.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _snapshot(folder)
    hub = _HUB_ID.fullmatch(source)
    if not hub:
        raise DataError(f"{source}: no such folder, and no name on the hub such as {example}")
    from huggingface_hub import snapshot_download

    name, revision = hub["name"], hub["revision"]
    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # the client has one of its own for every fault of repository, revision and network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        asked = f" --repo-type {kind}" + (f" --revision {revision}" if revision else "")
        raise DataError(
            f"{source}: no such folder, and not to be had from the hub ({reason}); where there is a connection, run "
            f"`hf download {name}{asked} --local-dir DIR` and name DIR here"
        ) from error


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
