"""A second place for what the cache keeps, which machines share that share no disk: any file system of fsspec."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec

from unsee.core.errors import RecordError, first_line
from unsee.core.files import CHECKSUM, keep, sha256_of

log = logging.getLogger(__name__)

VARIABLE = "UNSEE_CACHE_STORE"
"""Names the store, such as "s3://bucket/unsee"; fsspec needs the package of its kind (s3fs, gcsfs)."""


def store_of() -> Store | None:
    """Return the store that the environment names, if any.

    Raises:
        RecordError: it cannot be reached.
    """
    url = os.environ.get(VARIABLE, "")
    return Store(url) if url else None


class Store:
    """Copies of kept files and folders under a URL.

    A file is there when its checksum is, which is written last. What arrives with another checksum is not used. If the
    store fails later, a warning says so once, and the run goes on without it.

    Args:
        url: of a folder, as fsspec reads it.

    Raises:
        RecordError: the kind of store is unknown, its package is missing, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._works = True
        if not re.match(r"\w+://", url) or re.match(r"(file|local)://(?!/)", url):
            raise RecordError(f"{VARIABLE}={url}: must be a URL such as s3://bucket/unsee or file:///mnt/unsee")
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
            self._files.exists(self._root)
        except Exception as error:
            raise RecordError(
                f"{VARIABLE}={url}: cannot be used: {first_line(error)}; correct it or unset it"
            ) from error

    def put(self, path: Path, name: str) -> None:
        """Copy a kept file or folder into the store.

        Args:
            path: the file or folder.
            name: its place in the store.
        """
        place = f"{self._root}/{name}"

        def copy() -> None:
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._files.put(str(path), place, recursive=path.is_dir())
            self._files.pipe(place + CHECKSUM, f"{sha256_of(path)}  {path.name}\n".encode())

        self._attempt(copy)

    def get(self, path: Path, name: str) -> bool:
        """Keep the store's file or folder at a path; return False if the store has none that is whole."""
        place = f"{self._root}/{name}"

        def fetch() -> bool:
            if not self._files.exists(place + CHECKSUM):
                return False
            wanted = self._files.cat(place + CHECKSUM).decode()[:64]
            keep(path, lambda made: self._whole(place, made, wanted))
            return True

        try:
            return bool(self._attempt(fetch))
        except _Damaged:
            log.warning("%s: the store's copy is damaged and not used", name)
            return False

    def delete(self, name: str) -> None:
        """Delete everything of one name, which is a kind of the cache and the text before the first dot.

        Raises:
            RecordError: it cannot be deleted.
        """
        try:
            for place in (f"{self._root}/{name}", *self._files.glob(f"{self._root}/{name}.*")):
                if self._files.exists(place):
                    self._files.rm(place, recursive=True)
        except Exception as error:
            raise RecordError(f"{VARIABLE}: {name}: cannot be deleted: {first_line(error)}") from error

    def _whole(self, place: str, made: Path, wanted: str) -> None:
        self._files.get(place, str(made), recursive=self._files.isdir(place))
        if sha256_of(made) != wanted:
            raise _Damaged

    def _attempt(self, work: Callable[[], Any]) -> Any:
        if not self._works:
            return None
        try:
            return work()
        except _Damaged:
            raise
        except Exception as error:
            self._works = False
            log.warning("%s: %s; the run goes on without the store", VARIABLE, first_line(error))
            return None


class _Damaged(Exception):
    """A copy is not what its checksum says."""
