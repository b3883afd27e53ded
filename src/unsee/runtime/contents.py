"""What the cache holds, which run or request it belongs to, and the deletion of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unsee.core.errors import UnknownNameError
from unsee.core.files import delete, explained, sweep
from unsee.core.journal import Journal
from unsee.runtime.cache import KINDS, OWNERS, cache_folder, notes_of
from unsee.runtime.store import store_of


@dataclass(frozen=True)
class Entry:
    """All files of one name in the cache: content, checksum, cost, journal, checkpoint, and what was put aside.

    Attributes:
        name: kind and key, as in the notes of owners.
        paths: its files and folders.
        owners: the folders of the runs and requests that use it and still exist.
        num_bytes: the size of all its files when it was found.
    """

    name: str
    paths: tuple[Path, ...]
    owners: frozenset[Path]
    num_bytes: int

    @property
    def kind(self) -> str:
        """The folder of the cache that holds it."""
        return self.name.partition("/")[0]


def entries() -> list[Entry]:
    """Return everything that the cache holds; what killed processes left unfinished is deleted before."""
    owned = {owner: names for owner, names in _owned().items() if owner.is_dir()}
    found = []
    for folder in (cache_folder() / kind for kind in KINDS):
        sweep(folder)
        paths: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if key := path.name.partition(".")[0]:  # else a process is writing it
                paths.setdefault(f"{folder.name}/{key}", []).append(path)
        for name, parts in paths.items():
            owners = frozenset(owner for owner, names in owned.items() if name in names)
            files = [file for path in parts for file in (path, *path.rglob("*"))]
            size = sum(file.lstat().st_size for file in files if file.is_file())
            found.append(Entry(name, tuple(parts), owners, size))
    return found


def clear(owner: Path | None = None) -> list[Entry]:
    """Delete everything in the cache, or what belongs to one run or request and to no other; return what it was.

    Its copies in the store, if there is one, are deleted too.

    Args:
        owner: the folder of the run or request, which may be deleted already; None for everything.

    Raises:
        UnknownNameError: nothing in the cache belongs to this folder.
        RecordError: a file cannot be deleted.
    """
    owned = _owned()
    if owner is None:
        deleted = entries()
        notes = [*(cache_folder() / OWNERS).glob("*")]
    else:
        owner = owner.absolute()
        if owner not in owned:
            raise UnknownNameError("cache: what belongs to", str(owner), map(str, owned))
        deleted = [entry for entry in entries() if entry.name in owned[owner] and entry.owners <= {owner}]
        notes = [notes_of(owner)]
    for path in (*(path for entry in deleted for path in entry.paths), *notes):
        with explained(path, "deleted"):
            delete(path)
    if store := store_of():
        for entry in deleted:
            store.delete(entry.name)
    return deleted


def _owned() -> dict[Path, set[str]]:
    """Return the names of everything that each run or request used, by its folder."""
    owned: dict[Path, set[str]] = {}
    for path in (cache_folder() / OWNERS).glob("*.jsonl"):
        notes = Journal(path)
        for name in notes:
            owned.setdefault(Path(notes[name]), set()).add(name)
    return owned
