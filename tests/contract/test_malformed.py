"""Every file that a user hands in, damaged in every way: it is read, or refused in one sentence that leaves nothing.

Of the damaged forms of a file that has many, every so-manieth is tried; `make soak` tries more of them.
"""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from malformed import KINDS

from unsee.cli import main
from unsee.core.errors import ModelError
from unsee.models.vlm import VLM

STOPPED = "stopped where a model would be loaded"
MOST = {"report": 2, "judge": 2}
"""How many forms of a file are tried with a command, 6 by default; these draw a page each time."""


@pytest.fixture
def read(monkeypatch, capsys):
    """Runs a command that loads no model; gives its sentence, "" if the files were read."""

    def stop(*_):
        raise ModelError(STOPPED)

    monkeypatch.setattr(VLM, "load_as", stop)

    def run(words):
        code = main(words)
        err = capsys.readouterr().err
        if code == 0 or STOPPED in err:
            return ""
        assert code == 2, err
        (at,) = [place for place in range(len(err)) if err.startswith("unsee: ", place)][:1]
        said = err[at:]
        assert said.count("\n") == 1 or (" problems\n" in said and said.count("\n") <= 22), said
        assert len(said) < 40_000 and said.replace("\n", "").isprintable(), said
        assert "Traceback" not in err
        return said

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Gives a folder with everything that the command of a kind of file reads."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp("whole")
        kind = KINDS[name]
        twin = next((other for other in made if KINDS[other].write is kind.write), None)
        if twin:
            shutil.copytree(made[twin], folder, dirs_exist_ok=True)
        else:
            kind.write(folder)
        made[name] = folder
        return folder

    made = {}
    return make


def forms(kind, content, times):
    """Some damaged forms of a file, spread over all of them; so many times as many as by default."""
    if kind.values == "from the file":
        kind = replace(kind, values=json.loads(content))
    every = list(kind.damaged(content))
    step = max(1, len(every) // (times * MOST.get(kind.words[0], 4)))
    return every[len(kind.file) % step :: step]


def paths(folder: Path):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(name, times, read, whole, tmp_path):
    kind = KINDS[name]
    if kind.words[0] not in MOST:
        shutil.copytree(whole(name), tmp_path / "whole")
        assert read([word.format(tmp_path / "whole") for word in kind.words]) == ""
    damaged = forms(kind, (whole(name) / kind.file).read_bytes(), times)
    assert len(damaged) > 1
    for form, content in damaged:
        folder = tmp_path / "far/below/the/place/damaged"  # what a path in a file leads to is in `tmp_path` too
        shutil.copytree(whole(name), folder)
        (folder / kind.file).write_bytes(content)
        before = paths(folder)
        said = read([word.format(folder) for word in kind.words])
        if said:
            assert paths(folder) == before, form
        assert not list(tmp_path.rglob("victim*")), form
        shutil.rmtree(folder)
