import errno
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import pytest

import unsee
from unsee.cli import main
from unsee.cli.listing import LISTS
from unsee.config.recipe import recipe_names
from unsee.core.errors import RecordError


class Row(NamedTuple):
    method: str
    score: str
    verdict: str


@pytest.fixture
def fake_run(monkeypatch):
    """Replaces the run by a function of the test's choice, which gets the config."""

    def install(function):
        module = ModuleType("unsee.runs.run")
        module.run = lambda config, out, progress, workers, track: function(config)
        monkeypatch.setitem(sys.modules, "unsee.runs.run", module)

    return install


def result(verdict="ok", lost=()):
    return SimpleNamespace(
        rows=[Row("npo", "0.82 [0.75, 0.88]", verdict)],
        verdict=verdict,
        reason="target and oracle do not differ",
        report=Path("r/report.html"),
        scores=SimpleNamespace(lost=lost, cost_of_teaching="Teaching cost the target something."),
    )


def fails_with(error):
    def function(config):
        raise error

    return function


def test_an_error_of_the_disk_anywhere_is_one_sentence(capsys, monkeypatch):
    def fail(kind):
        raise OSError(errno.EROFS, "Read-only file system", "/data/list")

    monkeypatch.setattr("unsee.cli.running.lines_of", fail)
    assert main(["list", "methods"]) == 2
    assert capsys.readouterr().err == (
        "unsee: /data/list: cannot be read or written: the disk is read-only; choose another place\n"
    )


def test_run_prints_the_table_and_ends_with_the_report(fake_run, capsys):
    fake_run(lambda config: result())
    assert main(["run", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["method", "score", "verdict"]
    assert any("0.82 [0.75, 0.88]" in line for line in lines)
    assert lines[-1] == "r/report.html"


@pytest.mark.parametrize(("lost", "told"), [((), ""), (["a cell"], "Teaching cost the target something.\n")])
def test_run_says_what_teaching_cost(lost, told, fake_run, capsys):
    fake_run(lambda config: result(lost=lost))
    assert main(["run", "tiny"]) == 0
    assert capsys.readouterr().err == told


def test_run_takes_quick_by_default_and_applies_changes(fake_run):
    seen = []
    fake_run(lambda config: seen.append(config) or result())
    assert main(["run"]) == 0
    assert main(["run", "tiny", "--set", "seed=7", "--set", "method.npo.beta=0.2"]) == 0
    assert [config.name for config in seen] == ["quick", "tiny"]
    assert seen[1].seed == 7
    assert seen[1].method["npo"].options == {"beta": 0.2}


def test_no_signal_is_exit_code_3(fake_run, capsys):
    fake_run(lambda config: result("no signal"))
    assert main(["run", "tiny"]) == 3
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "r/report.html"
    assert captured.err == "unsee: no signal, so nothing is ranked: target and oracle do not differ\n"


def test_an_error_of_the_user_is_one_sentence_and_exit_code_2(fake_run, capsys):
    fake_run(fails_with(RecordError("runs/a: holds another run")))
    assert main(["run", "tiny"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "unsee: runs/a: holds another run\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quik"], "did you mean 'quick'"),
        (["run", "tiny", "--set", "data.peple=3"], "data.peple: unknown option; did you mean 'people'"),
        (["list", "method"], "did you mean 'methods'"),
    ],
)
def test_bad_names_are_said_in_one_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_command_is_exit_code_2(capsys):
    assert main(["lst"]) == 2
    assert "Did you mean 'list'?" in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130_and_says_how_to_go_on(fake_run, capsys):
    fake_run(fails_with(KeyboardInterrupt()))
    assert main(["run", "tiny"]) == 130
    assert "resumable" in capsys.readouterr().err


def test_a_crash_keeps_its_traceback(fake_run):
    fake_run(fails_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["run", "tiny"])


def test_lists(capsys):
    assert main(["list", "recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == recipe_names()
    assert main(["list", "methods"]) == 0
    assert "gradient_ascent" in capsys.readouterr().out
    for kind in LISTS:
        assert main(["list", kind]) == 0
        lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
        assert not [line for line in lines if not re.search(r"[.?]($| [(\[])", line)], "no whole sentence"


def test_of_several_processes_the_first_speaks_and_each_says_its_error(fake_run, capsys, monkeypatch):
    fake_run(lambda config: result())
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["run", "tiny"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["run", "quik"]) == 2
    assert "did you mean 'quick'" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    assert main(["run", "tiny"]) == 0
    assert capsys.readouterr().out.endswith("r/report.html\n")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"unsee {unsee.__version__}\n"


def test_listing_everything_imports_nothing_heavy():
    code = (
        "import sys; from unsee.cli import main; [main(['list', kind]) for kind in sys.argv[1:]];"
        "sys.exit(' '.join({'torch', 'transformers', 'pandas', 'rich.console'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code, *LISTS], check=True, capture_output=True, text=True)


def test_the_public_names_are_listed_and_light():
    assert set(unsee.__all__) == set(unsee._HOMES) <= set(dir(unsee))
    assert unsee.load_recipe("tiny").name == "tiny"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unsee.nothing  # noqa: B018
    code = "import sys, unsee; sys.exit(' '.join({'torch', 'pydantic', 'typer'} & set(sys.modules)) or None)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("words", [[], ["edits"], ["privacy"], ["models"], ["cache"]])
def test_the_list_of_commands_says_a_whole_sentence_of_each(words, capsys):
    main([*words, "--help"])
    lines = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert len(lines) > 2 and not [line for line in lines if line.endswith("...")]
