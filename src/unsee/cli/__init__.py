"""The command line: the only place, with `terminal`, that prints and sets up logging; it decides the exit code.

0 done, 1 crash (traceback) or, of `conformance`, a figure that is off, 2 an error of the user (one sentence), 3 no
signal, 130 interrupted. Everything heavy is imported inside the command that needs it, so that `unsee list` answers at
once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import unsee
from unsee.cli import asking, editing, models, privacy, running
from unsee.cli.terminal import is_main_process, only_main_speaks
from unsee.core.allocator import keep_freed_memory
from unsee.core.errors import UnseeError

USER_ERROR, INTERRUPTED = 2, 130

app = typer.Typer(
    name="unsee",
    help="Makes vision-language models forget people, and measures how far that is from never having seen them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (running, asking, editing, privacy, models):
    app.add_typer(module.commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    keep_freed_memory()
    try:
        with only_main_speaks():
            app(arguments)
    except UnseeError as error:
        print(f"unsee: {error}", file=sys.stderr)
        return USER_ERROR
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("unsee: interrupted; resumable: run the same command again", file=sys.stderr)
        counts = is_main_process()  # a launcher ends the others at the first code that is not 0: the main one gives it
        return stop.code if counts and isinstance(stop.code, int) else 0
    return 0


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Answer what needs no command."""
    if version:
        print(f"unsee {unsee.__version__}")
        raise typer.Exit
