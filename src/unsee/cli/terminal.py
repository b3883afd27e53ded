"""Output on the terminal: tables on stdout; progress, questions and warnings on stderr.

With several processes (`accelerate launch`), only the first one prints. The launcher tells each process its number in
environment variables, so no heavy import is needed to know it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple

import typer

from unsee.core.errors import ConfigError
from unsee.core.progress import now_and_then
from unsee.core.text import one_line, several_lines
from unsee.scoring.names import heading

if TYPE_CHECKING:
    import rich.progress
    import rich.table

    from unsee.core.progress import Advance, Progress
    from unsee.judge.base import Costs

_INTERVAL = re.compile(r" \[[-\d., ]+\]$")
SILENT_SECONDS = 60  # the longest silence without a terminal
STYLES = {"collapsed": "red", "no signal": "yellow", "fail": "red"}


def is_main_process() -> bool:
    """Return True in the only process, or in the first of several."""
    return int(os.environ.get("RANK", 0)) == 0


def is_only_process() -> bool:
    """Return True if this process was started alone."""
    return int(os.environ.get("WORLD_SIZE", 1)) == 1


@contextmanager
def silence_other_processes() -> Iterator[None]:
    """Discard what other processes than the main one print in the block.

    Errors that end a process are printed outside the block, so they appear in every case.
    """
    with ExitStack() as stack:
        if not is_main_process():
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield


def print_table(rows: Sequence[NamedTuple], extras: Sequence[str] = ()) -> None:
    """Print rows of text as a table on stdout, with the names of their fields as headings.

    Where a terminal is too narrow, intervals (" [low, high]") go first, then extra columns one by one; a line below the
    table names them. Nothing is ever cut: what is still too wide goes on in the next line.

    Args:
        rows: the rows, all of one type.
        extras: the fields to leave out, the least important first; of these, what few runs have is never shown empty.
    """
    from rich.console import Console

    from unsee.scoring.table import OPTIONAL

    if not rows:
        return
    console = Console(highlight=False, markup=False, emoji=False)
    empty = {name for name in extras if name in OPTIONAL and all(getattr(row, name, "") == "-" for row in rows)}
    fields, left_out = [name for name in rows[0]._fields if name not in empty], []
    table = _table(rows, fields)
    if not console.is_terminal:
        console.width = _width(table)
    if _width(table) > console.width:
        table = _table(rows, fields, intervals=False)
        for extra in (name for name in extras if name in fields):
            if _width(table) <= console.width:
                break
            fields.remove(extra)
            left_out.append(heading(extra))
            table = _table(rows, fields, intervals=False)
    console.print(table)
    if left_out:
        console.print(f"left out of this narrow table: {', '.join(left_out)}", style="dim")


def _width(table: rich.table.Table) -> int:
    """Return the width of a table that nothing limits, characters."""
    from rich.console import Console

    console = Console(width=10_000, markup=False, emoji=False)
    return console.measure(table).maximum


def _table(rows: Sequence[NamedTuple], fields: Sequence[str], *, intervals: bool = True) -> rich.table.Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in fields:
        table.add_column(heading(name), overflow="fold")
    for row in rows:
        texts = [one_line(str(getattr(row, name))) for name in fields]
        cells = (text if intervals else _INTERVAL.sub("", text) for text in texts)
        table.add_row(*map(Text, cells), style=STYLES.get(texts[-1]))
    return table


class Lines:
    """The progress without a terminal: one line on stderr for each finished stage, and one a minute while it runs.

    A task outside of any stage is a stage of its own.
    """

    def __init__(self, title: str = "") -> None:
        self._title = title
        self._note = ""

    @contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        """Write a line with the time when the stage ends, or with what was said in it."""
        started = time.monotonic()
        inside = self._inside(title)
        yield inside
        self._print(inside._note or f"{title}  {time.monotonic() - started:.0f} s")

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Show how far a task has come until it ends."""
        if self._title:
            with self._counted(total) as advance:
                yield advance
        else:
            with self.stage(name) as inside, inside.task(name, total) as advance:
                yield advance

    def say(self, line: str) -> None:
        """Write a line; in a stage, write it in place of the time."""
        if self._title:
            self._note = f"{self._title}: {line}"
        else:
            self._print(line)

    def _inside(self, title: str) -> Lines:
        return Lines(title)

    @contextmanager
    def _counted(self, total: int) -> Iterator[Advance]:
        yield now_and_then(SILENT_SECONDS, lambda done: self._print(f"{self._title}: {done} of {total}"))

    def _print(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)


class TerminalProgress(Lines):
    """The progress on a terminal: a bar for each open task, and a line with the time of each finished stage."""

    def __init__(self, bars: rich.progress.Progress, title: str = "") -> None:
        super().__init__(title)
        self._bars = bars

    def _inside(self, title: str) -> Lines:
        return TerminalProgress(self._bars, title)

    @contextmanager
    def _counted(self, total: int) -> Iterator[Advance]:
        from rich.markup import escape

        bar = self._bars.add_task(escape(one_line(self._title)), total=total)
        try:
            yield lambda steps: self._bars.advance(bar, steps)
        finally:
            self._bars.remove_task(bar)
            self._bars.refresh()

    def _print(self, line: str) -> None:
        self._bars.console.print(one_line(line), style="dim", highlight=False, markup=False, emoji=False)


def ask_consent(costs: Costs, *, yes: bool) -> None:
    """Print what would be sent and ask for consent, unless `yes` is set.

    Raises:
        ConfigError: there is no consent, or several processes would ask for it.
    """
    if not is_only_process():
        raise ConfigError("nothing was sent: every process would send it; start this one without accelerate launch")
    print(one_line(costs.sentence), file=sys.stderr)
    if yes or not costs.calls:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nothing was sent: this needs your consent, and there is no terminal to ask on; add --yes")
    if not typer.confirm(f"Send them to {one_line(costs.receiver)}?", err=True):
        raise ConfigError("nothing was sent: you did not consent")


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Show progress and the warnings of the log on stderr: bars on a terminal, else one line for each stage."""
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import Progress as Bars

    from unsee.runtime.quiet import hush

    console = Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    handler.addFilter(_without_escapes)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    hush()
    if not console.is_terminal:
        yield Lines()
        return
    with Bars(console=console) as bars:
        yield TerminalProgress(bars)


def _without_escapes(record: logging.LogRecord) -> bool:
    """Write the control characters of a warning as escapes."""
    record.msg, record.args = several_lines(record.getMessage()), None
    return True
