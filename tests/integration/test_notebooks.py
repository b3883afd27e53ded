"""The notebooks of docs/notebooks run from top to bottom and print what they show."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))
SLOW = {"trainer": pytest.mark.soak, "own-loop": pytest.mark.slow}
SAME_EVERYWHERE = {"score-answers"}
"""Notebooks whose numbers depend on no training."""


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=SLOW.get(path.stem, ())) for path in NOTEBOOKS]
)
def test_a_notebook_runs_as_shown(path, capsys):
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), f"{path.name}: {cell['id']}", "exec"), names)
        printed = capsys.readouterr().out
        shown = "".join("".join(output["text"]) for output in cell["outputs"])
        assert bool(printed) == bool(shown)
        if path.stem in SAME_EVERYWHERE:
            assert printed.rstrip() == shown.rstrip()


def test_there_is_one_for_each_way_to_use_unsee_in_other_code():
    assert {path.stem for path in NOTEBOOKS} == {"own-loop", "score-answers", "trainer"}
