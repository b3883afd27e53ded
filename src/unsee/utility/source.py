"""Where a benchmark's files are: in a folder, or on the hub, fetched once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unsee.errors import DataError


def find_folder(data: str, files: Sequence[str]) -> Path:
    """The folder with a benchmark's files.

    Args:
        data: a folder, or the name of a dataset on the hub, with "@" and a revision if it is not the newest.
        files: patterns of what to fetch.

    Raises:
        DataError: there is no such folder, and the hub does not give it.
    """
    folder = Path(data).expanduser()
    if folder.is_dir():
        return folder
    name, _, revision = data.partition("@")
    if folder.is_absolute() or name.count("/") != 1:
        raise DataError(f"{data}: no such folder, and no name on the hub (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision or None, allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # no connection, offline, no such dataset, revision or right to it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"{data}: no such folder, and not to be had from the hub ({reason}); where there is a connection, run "
            f"`hf download {name} --repo-type dataset --local-dir DIR` and give --data DIR"
        ) from error
