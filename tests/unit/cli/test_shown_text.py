"""What others wrote is shown as it is, and does nothing to the terminal."""

import logging
from typing import NamedTuple

import pytest
from rich.console import Console
from rich.progress import Progress

from unsee.cli import main, running
from unsee.cli.terminal import Lines, TerminalProgress, _without_escapes, print_table
from unsee.core.errors import DataError

TEXTS = [
    "[bold red]Ada[/]", "[/nothing]", "[link=https://a.b]x[/link]", ":smile: Ada", "Ada [x] Novak", "Passport [EU]",
    "[1, 2] of [3]", "Ada\\", "[@click=app.bell]x",
]  # fmt: skip
HARMFUL = {
    "\x1b[31mred": r"\x1b[31mred", "a\x07b": r"a\x07b", "a\rb": r"a\rb", "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\u202eevil": r"\u202eevil", "\x9b2J": r"\x9b2J", "a\x00b": r"a\x00b", "\ud800": r"\ud800", "a\nb": r"a\nb",
}  # fmt: skip


class Row(NamedTuple):
    name: str
    score: str


@pytest.fixture(params=[None, "40"])
def columns(request, monkeypatch):
    """No terminal, and a narrow one without colours."""
    if request.param:
        monkeypatch.setenv("COLUMNS", request.param)
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("text", [*TEXTS, *HARMFUL])
def test_a_table_shows_a_name_as_it_is(text, columns, capsys):
    print_table([Row(text, "0.82 [0.75, 0.88]"), Row("plain", "0.10 [0.00, 0.20]")])
    out = capsys.readouterr().out
    assert HARMFUL.get(text, text) in out
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", [*TEXTS, *HARMFUL])
def test_progress_and_warnings_show_a_name_as_it_is(text, capsys):
    with Lines().task(f"evaluate {text}", 1) as advance:
        advance(1)
    assert f"evaluate {HARMFUL.get(text, text)}  0 s\n" == capsys.readouterr().err
    console = Console(width=100, force_terminal=False)
    with Progress(console=console) as bars, TerminalProgress(bars).task(text, 1):
        pass
    out = capsys.readouterr().out
    assert HARMFUL.get(text, text) in out and out.replace("\n", "").isprintable()
    record = logging.LogRecord("unsee", logging.WARNING, "", 0, "model=%s", (text.replace("\n", " "),), None)
    assert _without_escapes(record) and record.getMessage().isprintable()


@pytest.mark.parametrize("text", HARMFUL)
def test_an_error_shows_a_name_as_it_is(text, capsys, monkeypatch):
    def fail(kind):
        raise DataError(f"{kind}: not here")

    monkeypatch.setattr(running, "lines_of", fail)
    assert main(["list", text.replace("\x00", "\x01")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("unsee: ") and err.endswith(": not here\n") and err.replace("\n", "").isprintable()
