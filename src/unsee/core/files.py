"""The one writer of files and folders: they arrive whole or not at all, and only their owner can read them.

A file or folder is made in a temporary folder beside its place, and then moved. The name of the temporary folder says
which process made it, so that `sweep` can delete what a killed process left behind.

A *kept* file or folder, as everything in the cache, has its SHA-256 beside it in `NAME.sha256`, in the format of
`sha256sum`. `intact` reads it again; a file that changed since is put aside as `NAME.damaged`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from unsee.core.errors import RecordError, UnseeError

log = logging.getLogger(__name__)

UNFINISHED, CHECKSUM, DAMAGED = ".part", ".sha256", ".damaged"
_AGAIN = "run the same command again"
_REASONS = {
    errno.ENOSPC: f"the disk is full; free some space and {_AGAIN}",
    errno.EDQUOT: f"your share of the disk is full; free some space and {_AGAIN}",
    errno.EFBIG: f"the file would be larger than allowed (see `ulimit -f`); raise the limit and {_AGAIN}",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "there is no permission; choose another place",
    errno.EPERM: "there is no permission; choose another place",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
    errno.ENOENT: f"a folder or file has vanished; {_AGAIN}",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EEXIST: "something else is there; choose another place or delete it",
    errno.ENOTEMPTY: "the folder is there already and not empty; choose another place or delete it",
    errno.EISDIR: "a folder is there; choose another place or delete it",
    errno.EIO: f"the disk fails; {_AGAIN} or choose another place",
    errno.ESTALE: f"a folder or file has vanished; {_AGAIN}",
}
_HOST = re.sub(r"\W", "", platform.node())[:40]
_TEMPORARY = re.compile(r"\.unsee-(?P<host>\w*)-(?P<process>\d+)-\w+\.part")
_ABANDONED_SECONDS = 24 * 3600  # no process of another machine writes this long without a sign
_CHECKSUMS_KEPT = 4  # earlier content stays valid until the new one is in place

_verified: dict[Path, tuple[int, int, int]] = {}


def reason(error: BaseException) -> str | None:
    """Return why a file cannot be read or written, as a clause; None if the error is about something else.

    Libraries written in Rust or C++ give the number of the operating system's error in their text only.
    """
    if isinstance(error, UnseeError):
        return None
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"\b(?:os error|errno) (\d+)", str(error), re.IGNORECASE)):
        number = int(found[1])
    return _REASONS.get(number) if number is not None else None


@contextlib.contextmanager
def explained(path: Path, doing: str = "written") -> Iterator[None]:
    """Turn an error of the operating system in the block into one sentence about `path`.

    Raises:
        RecordError: in place of such an error.
    """
    try:
        yield
    except Exception as error:
        why = reason(error) or (error.strerror or str(error) if isinstance(error, OSError) else None)
        if why is None:
            raise
        raise RecordError(f"{path}: cannot be {doing}: {why}") from error


def make_private(folder: Path) -> None:
    """Make a folder and those above it where they are missing; only their owner can enter those made.

    Raises:
        OSError: a folder cannot be made.
        RecordError: the folder above is one of the system's own that takes none, such as /proc.
    """
    if not folder.is_dir():
        make_private(folder.parent)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        except FileNotFoundError:
            if not folder.parent.is_dir():
                raise
            raise RecordError(f"{folder.parent}: takes no new file or folder; choose another place") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path for a new file or folder, which is moved to `path` when the block ends, or deleted if it fails.

    A file at `path` is replaced, a folder only if it is empty. Within something unfinished, the path is `path` itself.

    Raises:
        RecordError: it cannot be written.
    """
    if any(_TEMPORARY.fullmatch(part) for part in path.parent.parts):
        make_private(path.parent)
        yield path
        return
    sweep(path.parent)
    with _unfinished(path) as made:
        yield made
        _settle(made, sync=True)  # so that it also survives a loss of power
        os.replace(made, path)


def write(path: Path, content: bytes | str) -> None:
    """Write one file; text is written as UTF-8.

    Raises:
        RecordError: it cannot be written.
    """
    with replacing(path) as made:
        made.write_bytes(content.encode() if isinstance(content, str) else content)


def append_line(path: Path, line: bytes) -> None:
    """Append one line to a file, in place of a last line that a kill cut short.

    Raises:
        RecordError: it cannot be written.
    """
    with explained(path):
        make_private(path.parent)
        with open(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
            size = os.fstat(file.fileno()).st_size
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                os.ftruncate(file.fileno(), path.read_bytes().rfind(b"\n") + 1)
            file.write(line + b"\n")


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file or folder together with its checksum; `write` makes it at the path that it gets.

    The new checksum is in place before the content and stands beside the old one, so that a kill at any moment leaves
    content that `intact` accepts.

    Raises:
        RecordError: it cannot be written.
    """
    with _unfinished(path) as made:
        write(made)
        _settle(made, sync=False)  # content that a loss of power spoils does not have its checksum
        checksums = [sha256_of(made), *(_checksums(path) if path.exists() else [])][:_CHECKSUMS_KEPT]
        beside = made.with_name(made.name + CHECKSUM)
        beside.write_text("".join(f"{checksum}  {path.name}\n" for checksum in checksums))
        beside.chmod(0o600)
        state = _state(made)
        os.replace(beside, path.with_name(beside.name))
        os.replace(made, path)
    _verified[path] = state


def intact(path: Path) -> bool:
    """Return True if a kept file or folder is there and is as it was written.

    A damaged one is put aside and named in a warning. One without a checksum, made by an earlier version, is deleted.
    Content that this process has verified or written is not read again while its size and time stay the same.

    Raises:
        RecordError: it cannot be put aside.
    """
    while os.path.exists(path) and (checksums := _checksums(path)):
        if _fits(path, checksums):
            return True
        if checksums == _checksums(path):  # else another process wrote it meanwhile
            log.warning("%s: damaged; put aside as %s and computed again", path, put_aside(path).name)
            discard(path)
    if os.path.exists(path):
        discard(path)
    return False


def discard(path: Path) -> None:
    """Delete a kept file or folder and its checksum, if they exist.

    Raises:
        RecordError: it cannot be deleted.
    """
    with explained(path, "deleted"):
        delete(path)
        delete(path.with_name(path.name + CHECKSUM))


def delete(path: Path) -> None:
    """Delete a file or a folder if it exists.

    Raises:
        OSError: it cannot be deleted.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def put_aside(path: Path) -> Path:
    """Rename a damaged file or folder and return its new path; another process may have done so already.

    Raises:
        RecordError: it cannot be renamed.
    """
    aside = path.with_name(path.name + DAMAGED)
    with explained(path, "put aside"), contextlib.suppress(FileNotFoundError):
        delete(aside)
        os.replace(path, aside)
    return aside


def sweep(*folders: Path) -> None:
    """Delete what processes that have ended left unfinished in folders; what cannot be deleted stays."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                made_by = _TEMPORARY.fullmatch(name)
                if made_by and not _is_at_work(folder / name, made_by["host"], int(made_by["process"])):
                    shutil.rmtree(folder / name, ignore_errors=True)


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a temporary folder beside `path`, which is deleted when the block ends."""
    temporary = path.with_name(f".unsee-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}")
    with explained(path):
        make_private(path.parent)
        try:
            make_private(temporary)
            yield temporary / path.name
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _settle(made: Path, *, sync: bool) -> None:
    """Make a file, or a folder with everything in it, private, and wait for the disk if `sync`."""
    files = [made] if made.is_file() else [path for path in made.rglob("*") if path.is_file()]
    for folder in (made, *made.rglob("*")) if made.is_dir() else ():
        if folder.is_dir():
            folder.chmod(0o700)
    for file in files:
        file.chmod(0o600)
        if sync:
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def _fits(path: Path, checksums: list[str]) -> bool:
    """Return True if the content has one of the checksums; a file that cannot be read has none."""
    try:
        state = _state(path)
        if path.is_file() and _verified.get(path) == state:
            return True
        fits = sha256_of(path) in checksums
    except OSError:
        return False
    if fits:
        _verified[path] = state
    return fits


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the names and contents of all files in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = (f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksums(path: Path) -> list[str]:
    """Return the checksums beside a kept file, the newest first; none if there is no legible one."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return re.findall(r"^[0-9a-f]{64}(?=  )", path.with_name(path.name + CHECKSUM).read_text(), re.MULTILINE)
    return []


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_at_work(path: Path, host: str, process: int) -> bool:
    """Return True if the process that makes a temporary folder is alive.

    A process that started after the folder was made has got the number of one that ended. Processes of other machines,
    which share the disk, count as alive for a day.
    """
    import psutil

    try:
        made = path.lstat().st_mtime
        if host != _HOST:
            return time.time() - made < _ABANDONED_SECONDS
        writer = psutil.Process(process)
        return bool(writer.create_time() < made + 1 and writer.status() != psutil.STATUS_ZOMBIE)
    except (OSError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True
