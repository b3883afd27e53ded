"""The cache folder, its keys, and files and folders that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from unsee.core.errors import RecordError
from unsee.runtime.distributed import state

VERSION = 2  # raise it if the same inputs give other weights or answers; it seeds random draws, so all results change


def cache_folder() -> Path:
    """Return the folder of the cache: `$UNSEE_CACHE`, or `unsee` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNSEE_CACHE") or Path(base) / "unsee")


def key_of(*parts: object) -> str:
    """Return a hash of `parts`, 20 hexadecimal digits."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()[:20]


def make_folder(folder: Path, make: Callable[[Path], object]) -> None:
    """Run `make(folder)`, which is atomic; if another run created the folder first, keep theirs."""
    try:
        make(folder)
    except (OSError, RecordError):  # raised if the folder already exists
        if not folder.is_dir():
            raise


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file in the main process; no process returns before the file is complete."""
    if state().is_main_process:
        replace_whole(path, write)
    state().wait_for_everyone()


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: after an interruption it holds all of the new content or all of the old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
