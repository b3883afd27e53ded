import json
import re

import pandas as pd
import pytest
from synthetic import CONTROLS, make_answers

from unsee.core.errors import RecordError
from unsee.report.tables import CELL_ENDINGS, check_ending, write_cells
from unsee.scoring.people import cells
from unsee.scoring.table import cell_rows, too_few


def found(people=12):
    return cells(make_answers(CONTROLS[:1], people=people, items=20), 50)


def test_the_printed_cells_are_short_and_name_floor_people_and_questions():
    table = cell_rows(found())
    assert len(table) == 26
    row = next(row for row in table if (row.set, row.task, row.input) == ("forget", "generation", "text"))
    assert re.fullmatch(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", row.value)
    assert (row.metric, row.floor, row.invalid, row.people, row.questions) == ("ROUGE-L", "0.60", "0%", "12", "24")
    assert {row.people for row in table if row.set == "general"} == {"-"}


def test_too_few_people_have_no_interval_and_a_sentence_says_so(tmp_path):
    few = found(people=2)
    assert all("[" not in row.value for row in cell_rows(few) if row.set in ("forget", "test"))
    assert too_few(few) == "Too few people for an interval: forget (2), test (2); at least 5 are needed."
    assert too_few(found()) == ""
    write_cells(few, tmp_path / "cells.csv")
    table = pd.read_csv(tmp_path / "cells.csv")
    assert table.loc[table["n_units"] < 5, "low"].isna().all() and table.loc[table["n_units"] >= 5, "low"].notna().all()


def test_two_models_can_be_compared_from_their_files(tmp_path):
    for name in ("one", "two"):
        write_cells(found(), tmp_path / f"{name}.csv", model=name, data="people")
    table = pd.concat(pd.read_csv(tmp_path / f"{name}.csv") for name in ("one", "two"))
    wide = table.pivot(index=["set", "task", "input", "metric"], columns="model", values="value")
    assert (wide["one"] == wide["two"]).all() and len(wide) > 50


def test_json_holds_every_metric_and_markdown_the_printed_table(tmp_path):
    write_cells(found(), tmp_path / "cells.json", model="nano", protocol="clean")
    content = json.loads((tmp_path / "cells.json").read_text())
    assert (content["model"], content["protocol"]) == ("nano", "clean")
    assert {cell["metric"] for cell in content["cells"]} >= {"accuracy", "rouge_l", "probability"}
    write_cells(found(), tmp_path / "cells.md", model="nano")
    lines = (tmp_path / "cells.md").read_text().splitlines()
    assert lines[0] == "model: nano  " and lines[2].startswith("| set | task |") and len(lines) == 4 + 26


@pytest.mark.parametrize("name", ["cells", "cells.xlsx", "cells.CSV"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(RecordError, match=r"a table of cells ends in \.csv, \.md or \.json"):
        check_ending(tmp_path / name, CELL_ENDINGS, "a table of cells")
