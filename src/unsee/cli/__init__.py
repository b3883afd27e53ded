"""The command line. Only this package prints, sets up logging and chooses the exit code.

Exit codes: 0 done; 1 a crash (with traceback), or a figure that is off (`conformance`); 2 an error of the user (one
sentence); 3 no signal, or an audit that cannot tell; 4 a deletion request that is not done (something still leaks, or
the model broke), or an audit that recovered values; 130 interrupted. Heavy libraries are imported inside the commands
that need them, so that `unsee list` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

import unsee
from unsee.cli import asking, auditing, cache, editing, models, playing, privacy, running
from unsee.cli.terminal import is_main_process, silence_other_processes
from unsee.core.allocator import keep_freed_memory
from unsee.core.errors import UnseeError
from unsee.core.files import reason
from unsee.core.text import several_lines

USER_ERROR, INTERRUPTED = 2, 130

app = typer.Typer(
    name="unsee",
    help="Make vision-language models forget people or stop telling private facts, and measure how well it worked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (running, auditing, playing, asking, editing, privacy, models, cache):
    app.add_typer(module.commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after the program's name; those of this process by default.
    """
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding shows what it lacks as escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with silence_other_processes():
            command(arguments)
    except UnseeError as error:
        print(f"unsee: {several_lines(str(error))}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if not (why := reason(error)):
            raise
        print(f"unsee: {error.filename or 'a file'}: cannot be read or written: {why}", file=sys.stderr)
        return USER_ERROR
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("unsee: interrupted; resumable: run the same command again", file=sys.stderr)
        # A launcher kills all processes at the first exit code other than 0, so only the main process returns one.
        return stop.code if is_main_process() and isinstance(stop.code, int) else 0
    return 0


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Show the version if asked; this runs before every command."""
    if version:
        print(f"unsee {unsee.__version__}")
        raise typer.Exit


# Built once: Typer would do so at every call, which takes longer than most commands when many run in one process.
command = get_command(app)
