"""CONTRIBUTING.md, followed word for word: its method is a row of a run's table, with no edit but its own file."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unsee
from unsee.scoring.schema import Scores

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A copy of the package with the file that the document shows."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(Path(unsee.__file__).parent, site / "unsee", ignore=shutil.ignore_patterns("__pycache__"))
    (method,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (site / "unsee" / "methods" / "my_method.py").write_text(method)
    return site


def command(site, arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(site), **variables}
    return subprocess.run(
        [sys.executable, "-m", "unsee", *map(str, arguments)], env=environment, capture_output=True, text=True
    )


def test_the_method_is_listed(site):
    listed = command(site, ["list", "methods"])
    assert re.search(r"my_method .*Say in one line what it does", listed.stdout)


def test_the_method_is_a_row_of_a_run(site, recipe, cache, finished, tmp_path):
    (first, *_) = re.findall(r"^\.venv/bin/unsee run tiny (.*)$", TEXT, re.MULTILINE)
    run = command(site, [*recipe, *shlex.split(first), "--out", tmp_path / "run"], UNSEE_CACHE=str(cache))
    assert run.returncode == 0, run.stderr
    assert "teach target: from the cache" in run.stderr
    assert "unlearn my method" in run.stderr and not re.search("unlearn my method.*from the cache", run.stderr)
    rows = {(row.method, row.modality): row for row in Scores.load(tmp_path / "run", "scores.json").methods}
    assert rows["my_method", "both"].score is not None and "my method" in run.stdout
    assert "my method" in (tmp_path / "run" / "report.html").read_text()
