import json
import re
import shutil

import pandas as pd
import pytest
import synthetic_documents
from synthetic import CONTROLS, METHODS, make_answers, make_run

from unsee.core.errors import RecordError
from unsee.report.reports import write_report
from unsee.report.tables import CELL_ENDINGS, check_ending, write_cells, write_scores
from unsee.scoring.cells import cells
from unsee.scoring.schema import Scores
from unsee.scoring.table import cell_rows, too_few

pytestmark = pytest.mark.slow


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


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs about people, and two about documents on different draws."""
    folder = tmp_path_factory.mktemp("runs")
    people = [
        make_run(folder / f"quick-{seed}", make_answers((*CONTROLS, METHODS[0], METHODS[-1]), items=20, seed=seed))
        for seed in (0, 1)
    ]
    return {"people": people, "documents": [synthetic_documents.make_run(folder / f"gate-{n}", seed=n) for n in (0, 1)]}


def test_csv_holds_every_number_with_its_interval(runs, tmp_path):
    table = pd.read_csv(write_report(runs["people"], tmp_path / "t.csv"))
    assert list(table.columns[:6]) == ["run", "method", "modality", "efficacy", "efficacy_low", "efficacy_high"]
    assert set(table["run"]) == {"quick-0", "quick-1"}
    for run in runs["people"]:
        scores = Scores.load(run, "scores.json")
        npo = next(method for method in scores.methods if method.method == "npo")
        row = table[(table["run"] == run.name) & (table["method"] == "npo")].iloc[0]
        assert tuple(row[["score", "score_low", "score_high"]]) == pytest.approx(tuple(npo.score.model_dump().values()))
        assert (row["modality"], row["verdict"]) == ("both", "ok")


def test_csv_of_documents_has_several_draws_together_too(runs, tmp_path):
    table = pd.read_csv(write_report(runs["documents"], tmp_path / "t.csv"))
    assert list(table["run"].unique()) == ["synthetic documents: 2 draws of documents together", "gate-0", "gate-1"]
    assert {"eta", "eta_low", "leaked", "changed_parameters", "verdict"} < set(table.columns)
    assert len(table) == 3 * 5


def test_json_holds_the_scores_of_each_run(runs, tmp_path):
    content = json.loads(write_report(runs["people"], tmp_path / "t.json").read_text())
    assert [part["run"] for part in content] == ["quick-0", "quick-1"]
    for part, run in zip(content, runs["people"], strict=True):
        assert part["scores"] == json.loads((run / "scores.json").read_text())


@pytest.mark.parametrize("kind", ["people", "documents"])
def test_latex_is_a_booktabs_table_with_readable_names(runs, tmp_path, kind):
    text = write_report(runs[kind][:1], tmp_path / "t.tex").read_text()
    assert all(rule in text for rule in ("\\toprule", "\\midrule", "\\bottomrule", "{booktabs}"))
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len({line.count(" & ") for line in rows}) == 1 and len(rows) > 5
    assert ("second oracle & " if kind == "people" else "Neural Gate & ") in text
    assert ("unlearned from" if kind == "people" else "EtA") in rows[0]
    assert "run & " in write_report(runs[kind], tmp_path / "two.tex").read_text()


def test_what_latex_reads_as_a_command_is_escaped(runs, tmp_path):
    scores = Scores.load(runs["people"][0], "scores.json")
    named = scores.model_copy(
        update={"methods": [scores.methods[0].model_copy(update={"method": "a_%x", "modality": "50 % & # $ {b}"})]}
    )
    write_scores([("r_1", named), ("r_2", named)], tmp_path / "t.tex")
    text = (tmp_path / "t.tex").read_text()
    assert "50 \\% \\& \\# \\$ \\{b\\}" in text and "r\\_1" in text
    assert not re.search(r"(?<![\\%n])[#$_]", text.partition("\n")[2])


def test_a_run_that_is_given_twice_is_refused(runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(runs["people"][0], copy)
    with pytest.raises(RecordError, match="holds the same run as"):
        write_report([runs["people"][0], copy], tmp_path / "t.html")
    assert not (tmp_path / "t.html").exists()
