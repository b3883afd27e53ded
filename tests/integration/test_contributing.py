"""CONTRIBUTING.md, followed word for word: its method is a row of a run's table, with no edit but its own file."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from integration.command import unsee

from unsee import methods
from unsee.methods import METHODS
from unsee.scoring.schema import Scores

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
(METHOD,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_method_is_listed_where_its_file_is_the_only_change(tmp_path):
    shutil.copytree(ROOT / "src" / "unsee", tmp_path / "unsee", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "unsee" / "methods" / "my_method.py").write_text(METHOD)
    words = [sys.executable, "-m", "unsee", "list", "methods"]
    listed = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert re.search(r"my_method .*Say in one line what it does", listed.stdout)


@pytest.fixture
def method(tmp_path):
    """The file among the methods of this process, which has imported the program."""
    (tmp_path / "my_method.py").write_text(METHOD)
    methods.__path__.append(str(tmp_path))
    vars(METHODS).pop("_leaves", None)
    yield
    methods.__path__.remove(str(tmp_path))
    vars(METHODS).pop("_leaves", None)
    METHODS._entries.pop("my_method", None)
    sys.modules.pop("unsee.methods.my_method", None)


@pytest.mark.usefixtures("method")
def test_the_method_is_a_row_of_a_run(recipe, cache, finished, tmp_path):
    (first, *_) = re.findall(r"^\.venv/bin/unsee run tiny (.*)$", TEXT, re.MULTILINE)
    run = unsee([*recipe, *shlex.split(first), "--out", tmp_path / "run"], cache)
    assert run.code == 0, run.err
    assert "teach target: from the cache" in run.err
    assert "unlearn my method" in run.err and not re.search("unlearn my method.*from the cache", run.err)
    rows = {(row.method, row.modality): row for row in Scores.load(tmp_path / "run", "scores.json").methods}
    assert rows["my_method", "both"].score is not None and "my method" in run.out
    assert "my method" in (tmp_path / "run" / "report.html").read_text()
