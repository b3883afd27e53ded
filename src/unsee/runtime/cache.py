"""The cache folder, its keys, and what belongs to which run. All its files are kept with a checksum (`core.files`)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from unsee.core.errors import RecordError
from unsee.core.files import explained, intact, keep, make_private, sweep
from unsee.core.journal import Journal
from unsee.core.record import check_writable
from unsee.runtime.distributed import decided, state
from unsee.runtime.store import store_of
from unsee.runtime.tasks import NotNow

VERSION = 2  # raise it if the same inputs give other weights or answers; it seeds random draws, so all results change
KINDS = ("answers", "changes", "data", "documents", "edits", "features", "moments", "weights", "written")
"""The folders of the cache."""
OWNERS = "owners"
"""The folder of the notes: one journal for each run or request, of the names of all that it used."""

LOCKS = "locks"
"""The folder of the locks of what is being computed now; the lock of a dead process is free."""


def cache_folder() -> Path:
    """Return the folder of the cache: `$UNSEE_CACHE`, or `unsee` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNSEE_CACHE") or Path(base) / "unsee")


def key_of(*parts: object) -> str:
    """Return a hash of `parts`, 20 hexadecimal digits."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()[:20]


def notes_of(owner: Path) -> Path:
    """Return the journal of what belongs to a run or request."""
    return cache_folder() / OWNERS / f"{key_of(str(owner.absolute()))}.jsonl"


class Cache:
    """The cache as one command uses it. What killed processes left unfinished in it is deleted at once.

    Args:
        owner: the folder of the run or request that the command is about; None if there is none.

    Raises:
        RecordError: the cache cannot be written.
    """

    def __init__(self, owner: Path | None = None) -> None:
        self.folder = cache_folder()
        check_writable(self.folder, "set UNSEE_CACHE to another folder for the cache")
        sweep(*(self.folder / kind for kind in (*KINDS, OWNERS)))
        for lock in (self.folder / LOCKS).glob("*.lock"):  # killed processes leave theirs
            with contextlib.suppress(NotNow), _locked(lock, wait=False):
                pass
        self._store = store_of()
        self._owner = owner.absolute() if owner else None
        self._notes = Journal(notes_of(owner)) if owner else None

    def path(self, kind: str, name: str) -> Path:
        """Return the place of a file or folder, and note that it belongs to the owner.

        Args:
            kind: one of `KINDS`.
            name: the file's name; all files with the same text before the first dot belong together.

        Raises:
            RecordError: the note cannot be written.
        """
        entry = f"{kind}/{name.partition('.')[0]}"
        if self._notes is not None and entry not in self._notes:
            self._notes.add(entry, str(self._owner))
        return self.folder / kind / name

    def holds(self, path: Path) -> bool:
        """Return True, in every process, if the main process finds a file intact, here or in the store."""
        return decided(lambda: intact(path) or (self._store is not None and self._store.get(path, self._name(path))))

    def keep(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file in the main process; no process returns before the file is complete."""
        if state().is_main_process:
            keep(path, write)
            if self._store is not None:
                self._store.put(path, self._name(path))
        state().wait_for_everyone()

    def _name(self, path: Path) -> str:
        """Return the place of a file in the store."""
        return path.relative_to(self.folder).as_posix()

    @contextmanager
    def locked(self, path: Path, *, wait: bool = True) -> Iterator[None]:
        """Let no other process compute this file in the block; of processes that work as one, the main one locks.

        Args:
            path: a file of the cache.
            wait: wait for a process that computes it.

        Raises:
            NotNow: another process computes it, and `wait` is False.
        """
        with contextlib.ExitStack() as stack:
            if not decided(lambda: _entered(stack, self.folder / LOCKS / f"{path.stem}.lock", wait)):
                raise NotNow
            yield


def _entered(stack: contextlib.ExitStack, lock: Path, wait: bool) -> bool:
    """Take a lock until the stack is left; return False if it is not free."""
    try:
        stack.enter_context(_locked(lock, wait=wait))
    except NotNow:
        return False
    return True


@contextmanager
def _locked(lock: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock in the block, and delete its file; a process that has opened it meanwhile makes a new one."""
    with explained(lock):
        make_private(lock.parent)
        held = FileLock(lock, mode=0o600, timeout=-1 if wait else 0)
        try:
            held.acquire()
        except Timeout:
            raise NotNow from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        held.release()


def make_folder(folder: Path, make: Callable[[Path], object]) -> None:
    """Keep the folder that `make` writes; if another run made it first, keep theirs."""
    try:
        keep(folder, make)
    except RecordError:  # raised if the folder already exists
        if not folder.is_dir():
            raise
