"""Commands that list and clear the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from unsee.cli.terminal import print_table

if TYPE_CHECKING:
    from unsee.runtime.contents import Entry

commands = typer.Typer(name="cache", help="List and clear what finished stages left for later.", no_args_is_help=True)


class CacheRow(NamedTuple):
    """What of one kind belongs to the same runs and requests, as text."""

    kind: str
    entries: str
    size: str
    belongs_to: str


@commands.command("list")
def list_cache() -> None:
    """Show what the cache holds, and to which runs it belongs."""
    from unsee.runtime.cache import cache_folder
    from unsee.runtime.contents import entries

    found = entries()
    print_table(_rows(found))
    print(f"{cache_folder()}: {_size(found)}")


@commands.command("clear")
def clear_cache(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of a run or request: delete what belongs to it and to no other (default: all)."),
    ] = None,
) -> None:
    """Delete the cache, or what belongs to one run or request alone.

    Runs and their results stay. What is missing is computed again when a run needs it.
    """
    from unsee.runtime.contents import clear, entries

    deleted = clear(folder)
    print_table(_rows(deleted))
    print(f"deleted {_size(deleted)}; {_size(entries())} are left")


def _rows(entries: Iterable[Entry]) -> list[CacheRow]:
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        group = entry.kind, ", ".join(sorted(map(str, entry.owners))) or "no run or request"
        counts[group] += 1
        sizes[group] += entry.num_bytes
    return [
        CacheRow(kind, str(counts[kind, owners]), _mb(sizes[kind, owners]), owners) for kind, owners in sorted(counts)
    ]


def _size(entries: list[Entry]) -> str:
    return f"{len(entries)} entries, {_mb(sum(entry.num_bytes for entry in entries))}"


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
