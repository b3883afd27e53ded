"""A metric of another distribution: from its options to the answers, the scores and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest
import tiny
from exams import BENCHMARK, CONFIG, GENERAL
from pydantic import PositiveInt

from unsee.config.recipe import EvaluationConfig, MetricTable
from unsee.core.errors import ConfigError, UnknownNameError
from unsee.core.record import METRIC_COLUMNS, OPTIONAL_METRICS, Record, in_order
from unsee.core.registry import Leaf
from unsee.exams.metrics import make_metrics
from unsee.exams.people import Exam
from unsee.metrics import METRICS
from unsee.report.reports import write_report
from unsee.scoring.cells import cells
from unsee.scoring.documents import document_scores
from unsee.scoring.people import find_signal, score

pytestmark = pytest.mark.slow

NAME = "word_error"


@dataclass(frozen=True)
class WordError:
    """Share of the first words of the truth that are not in the answer, 0 to 1; lower means more knowledge."""

    tasks: ClassVar = ("generation", "classification")
    better: ClassVar = "lower"
    words: PositiveInt = 2
    cloze_match: str = "exact"

    def score(self, given):
        truth = given.question.answer.split()[: self.words]
        return sum(word not in given.answer for word in truth) / len(truth)


def register(monkeypatch, name, cls):
    monkeypatch.setitem(METRICS._leaves, name, [Leaf(name=name, module=__name__, summary="")])
    monkeypatch.setitem(METRICS._entries, name, cls)


@pytest.fixture
def registered(monkeypatch):
    register(monkeypatch, NAME, WordError)


@pytest.fixture
def answers(registered):
    vlm = tiny.make_vlm()
    exam = Exam(vlm, BENCHMARK, GENERAL, CONFIG)
    knows, never_knew = exam.examine(vlm), exam.examine(vlm.untrained())
    models = {"target": knows, "oracle": never_knew, "do_nothing": knows}
    tables = [table.assign(method=name, modality="", seed=0) for name, table in models.items()]
    return in_order(pd.concat(tables, ignore_index=True))


def test_its_values_are_a_column_of_the_answers(answers):
    assert list(answers.columns)[-1] == NAME
    assert set(answers["task"][answers[NAME].notna()]) == {"generation", "classification"}
    right = answers[(answers["task"] == "classification") & (answers["accuracy"] == 1)]
    assert (right[NAME] == 0).all()


def test_its_means_are_cells_and_stand_on_the_page(answers, tmp_path):
    scores = score(answers, 100, better={NAME: "lower"})
    mine = [cell for cell in scores.cells if cell.metric == NAME]
    assert {(cell.method, cell.set, cell.task) for cell in mine} >= {("target", "forget", "generation")}
    assert scores.further_metrics == [NAME]
    assert {cell.metric for cell in cells(answers)} == {*METRIC_COLUMNS, NAME}
    record = Record.create(tmp_path / "run", 'name = "plugged"\nkind = "people"\n')
    record.write_table("answers.parquet", answers)
    find_signal(answers).save(record, "signal.json")
    scores.save(record, "scores.json")
    for out, heading in (("report.html", f'<th scope="col" class="number">{NAME}</th>'), ("results.md", f"## {NAME}")):
        page = write_report([record.folder], tmp_path / out).read_text()
        assert heading in page
        assert f"For {NAME}, lower is closer to the truth." in page


def test_without_further_metrics_the_page_names_none(tmp_path):
    from synthetic import CONTROLS, make_answers, make_run

    run = make_run(tmp_path / "run", make_answers(CONTROLS[:2]))
    assert "closer to the truth" not in write_report([run], tmp_path / "report.html").read_text()


def test_a_run_about_documents_reports_it_for_the_general_questions(tmp_path):
    from synthetic_documents import make_run

    record = Record.open(make_run(tmp_path / "run"))
    table = record.read_table("answers.parquet")
    table[NAME] = table["accuracy"].where(table["task"] == "classification")
    scores = document_scores(table, {}, {}, 100, {NAME: "lower"})
    mine = [cell for cell in scores.cells if cell.metric == NAME]
    assert {cell.method for cell in mine} == set(table["method"])
    assert {(cell.set, cell.task, cell.judge) for cell in mine} == {("general", "classification", "")}
    scores.save(record, "scores.json")
    page = write_report([record.folder], tmp_path / "report.html").read_text()
    assert f'<th scope="col" class="number">{NAME}</th>' in page


def test_its_options_are_of_evaluation_or_of_its_own_table_or_the_default(registered):
    clean, published = EvaluationConfig(), EvaluationConfig(protocol="published")
    assert make_metrics(clean, {})[NAME] == WordError()
    assert make_metrics(published, {NAME: MetricTable(words=3)})[NAME] == WordError(words=3, cloze_match="substring")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wordz": 1}, r"^metric\.word_error\.wordz: unknown option; did you mean 'words'"),
        ({"words": 0}, r"^metric\.word_error\.words: must be greater than 0, got 0$"),
        ({"cloze_match": "exact"}, r"^metric\.word_error\.cloze_match: is a key of \[evaluation\]; set evaluation\."),
    ],
)
def test_a_wrong_option_says_where_and_what_is_right(registered, options, message):
    with pytest.raises(ConfigError, match=message):
        make_metrics(EvaluationConfig(), {NAME: MetricTable(**options)})


def test_a_table_of_no_metric_says_the_nearest():
    with pytest.raises(UnknownNameError, match="metric: unknown name 'rouge_3'; did you mean 'rouge_"):
        make_metrics(EvaluationConfig(), {"rouge_3": MetricTable()})


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        (NAME, dataclass(type("Vague", (), {})), "metric word_error: must be a dataclass with `tasks`, `better`"),
        ("answer", WordError, "metric answer: the answers have a column of this name"),
    ],
)
def test_a_metric_that_cannot_be_used_is_left_out_unless_the_recipe_names_it(monkeypatch, caplog, name, cls, message):
    register(monkeypatch, name, cls)
    assert set(make_metrics(EvaluationConfig(), {})) == {*METRIC_COLUMNS, *OPTIONAL_METRICS}
    assert message in caplog.text
    with pytest.raises(ConfigError, match=message):
        make_metrics(EvaluationConfig(), {name: MetricTable()})


def test_answers_are_kept_under_the_metrics_and_their_options(registered):
    vlm = tiny.make_vlm()
    keys = {
        Exam(vlm, BENCHMARK, GENERAL, CONFIG, metrics=make_metrics(CONFIG, tables)).key
        for tables in ({}, {NAME: MetricTable(words=2)}, {NAME: MetricTable(words=3)})
    }
    assert len(keys) == 2
