"""What a table shows of itself, however narrow the terminal."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from synthetic import CONTROLS, METHODS, make_answers

from unsee.cli.terminal import Lines, print_table
from unsee.scoring.people import score
from unsee.scoring.table import EXTRAS, OPTIONAL, DocumentsRow, rows

NUMBER = "0.98 [0.97, 0.99]"


@pytest.fixture(scope="module")
def people():
    return rows(score(make_answers((*CONTROLS, *METHODS)), 20))


@pytest.fixture
def printed(monkeypatch):
    """Prints a table on a terminal of so many columns, or without one, and returns its lines."""

    def show(table, width):
        file = io.StringIO()
        terminal = {"force_terminal": True, "width": width, "color_system": None} if width else {}
        monkeypatch.setattr("rich.console.Console", lambda **options: Console(**{"file": file, **terminal, **options}))
        print_table(table, EXTRAS)
        return file.getvalue().splitlines()

    return show


@pytest.mark.parametrize("width", [60, 80, 120, 200, None])
def test_method_score_and_verdict_are_always_whole(printed, people, width):
    lines = printed(people, width)
    assert "…" not in "".join(lines)
    if width:
        assert max(map(len, lines)) <= width
    start = next(number for number, line in enumerate(lines) if "──" in line) + 1
    for row, line in zip(people, lines[start:], strict=False):
        texts = [text.strip() for text in line.split("  ") if text.strip()]
        assert texts[0] == row.method and texts[-1] == row.verdict
        assert row.unlearned_from in (*texts, "")
        assert (row.score if width in (200, None) else row.score.partition(" [")[0]) in texts


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_says_which_columns_are_left_out(printed, people, width):
    lines = printed(people, width)
    known = [name for name in EXTRAS if name in people[0]._fields and name not in OPTIONAL]  # nothing was attacked
    missing = [name for name in known if name not in lines[1]]
    said = " ".join(lines).partition("left out of this narrow table: ")[2]
    assert [name for name in EXTRAS if name in said] == missing
    assert bool(missing) == (width < 120)


def test_rows_about_documents_keep_method_eta_and_verdict(printed):
    table = [DocumentsRow("plain fine-tuning of one matrix", *[NUMBER] * 4, "0.0123", "4567", "no signal")]
    for width in (60, 80, 120):
        line = printed(table, width)[3]
        assert line.split("  ")[0].strip() == table[0].method and "0.98" in line and line.rstrip().endswith("no signal")


def test_what_cannot_fit_is_folded_and_not_cut(printed, people):
    lines = printed(people, 34)
    whole = "".join(line[:10].strip() for line in lines)  # the names, with every part of a folded one
    assert "…" not in "".join(lines) and whole.count("gradientdifference") == 3


def test_without_a_terminal_each_stage_is_one_line_and_long_ones_speak_each_minute(capsys, monkeypatch):
    now = [0.0]
    for module in ("cli.terminal", "core.progress"):
        monkeypatch.setattr(f"unsee.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    progress = Lines()
    with progress.stage("7 of 19: unlearn NPO · both") as inside:
        with inside.task("npo-both", 400) as advance:
            for _ in range(4):
                now[0] += 40
                advance(100)
        with inside.task("again", 1) as advance:
            advance(1)
    with progress.stage("8 of 19: teach target") as inside:
        inside.say("from the cache")
    with progress.task("documents", 1) as advance:
        now[0] += 2
        advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "7 of 19: unlearn NPO · both: 200 of 400",
        "7 of 19: unlearn NPO · both: 400 of 400",
        "7 of 19: unlearn NPO · both  160 s",
        "8 of 19: teach target: from the cache",
        "documents  2 s",
    ]


def test_a_stage_that_fails_says_nothing(capsys):
    with pytest.raises(KeyboardInterrupt), Lines().stage("1 of 2: teach target"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
