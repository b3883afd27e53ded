"""Where what was computed is kept, and under which name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from unsee.core.errors import RecordError
from unsee.runtime.distributed import state

VERSION = 2  # raise it when the same inputs give other weights or answers; it seeds draws, so every figure moves


def cache_folder() -> Path:
    """Where stages are kept: `$UNSEE_CACHE`, or `unsee` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNSEE_CACHE") or Path(base) / "unsee")


def key_of(*parts: object) -> str:
    """A short name for everything in `parts`."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()[:20]


def make_folder(folder: Path, make: Callable[[Path], object]) -> None:
    """Have a folder made by what makes it whole or not at all; if another run has made it meanwhile, that one stays."""
    try:
        make(folder)
    except (OSError, RecordError):  # the builders' words for a place that is taken
        if not folder.is_dir():
            raise


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have the main process write a file; when this returns, it is there for all of them."""
    if state().is_main_process:
        replace_whole(path, write)
    state().wait_for_everyone()


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have this process write a file, so that there is all of it or what was there before, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
