"""One whole run, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
import signal
from itertools import product

import pandas as pd
import pytest
from integration.command import Stop, unsee

from unsee import load_recipe, run_recipe
from unsee.core.record import ANSWER_COLUMNS, METRIC_COLUMNS, Record
from unsee.data.people.mllmu import load
from unsee.edits.edit import Edit
from unsee.runs.status import status
from unsee.scoring.cells import HEADLINE
from unsee.scoring.names import readable
from unsee.scoring.schema import Scores

CONTROLS = ["base", "random_weights", "target", "oracle", "oracle_2", "do_nothing"]
METHODS = [*CONTROLS, "gradient_difference", "prompting"]
CELLS = set(
    product(("forget", "test", "retain", "celebrity"), ("classification", "generation", "cloze"), ("image", "text"))
) | {("general", "classification", "image"), ("general", "classification", "text")}


@pytest.fixture
def run(finished):
    folder, _ = finished
    return Record.open(folder)


@pytest.fixture(scope="module")
def secrets(data):
    """The names and longer answers of the people to forget."""
    people = load(data, 15).forget
    words = {text for person in people for question in person.questions for text in (question.answer, person.name)}
    return {word for word in words if len(word) > 6}


def test_it_ends_with_the_table_the_report_and_nothing_else(finished):
    folder, command = finished
    assert command.code == 0 and "unsee: " not in command.err, command.err
    lines = command.out.split("\n")
    assert lines[-2:] == [str(folder / "report.html"), ""]
    assert sorted(line.strip().partition("  ")[0] for line in lines[3:-3]) == sorted(map(readable, METHODS))


def test_the_record_is_complete(run):
    assert {path.name for path in run.folder.iterdir()} == {
        ".lock", "config.toml", "log.jsonl", "answers.parquet", "signal.json", "scores.json", "report.html",
        "portraits", "models",
    }  # fmt: skip
    assert {path.name for path in (run.folder / "models").iterdir()} == {
        "target", "oracle", "oracle_2", "gradient_difference-both",
    }  # fmt: skip
    assert not list(run.folder.rglob("*.part"))
    assert [event["event"] for event in run.events()][-1] == "finished"


def test_the_terminal_and_the_log_say_where_it_is(finished, run, cache):
    _, command = finished
    found = status(run.folder)
    assert found.state == "finished" and found.done == found.planned == len(found.rows)
    for row in found.rows:
        assert f"{row.stage} of {found.planned}: {row.name}" in command.err
    said = unsee(["status", run.folder], cache)
    assert said.code == 0 and f"{found.planned} of {found.planned} stages done" in said.out
    assert said.out.splitlines()[-1] == str(run.folder / "report.html")


def test_the_scores_keep_the_contract(run):
    scores = Scores.load(run.folder, "scores.json")
    assert [method.method for method in scores.methods] == METHODS
    assert {method.verdict for method in scores.methods} <= {"ok", "collapsed"}
    for method in scores.methods:
        own = [cell for cell in scores.cells if cell.method == method.method]
        headline = [cell for cell in own if cell.metric == HEADLINE[cell.task]]
        assert {(cell.set, cell.task, cell.input) for cell in headline} == CELLS
        assert len(headline) == len(CELLS)
        assert all(cell.low <= cell.value <= cell.high and cell.n_units > 1 for cell in own)
        assert {cell.chance for cell in headline if cell.task == "classification"} == {0.25}
        assert method.modality == ("both" if method.method == "gradient_difference" else "")
    seeds = {cell.method: cell.seed for cell in scores.cells}
    assert (seeds["target"], seeds["oracle"], seeds["oracle_2"]) == (0, 1, 2)


def test_the_signal_shows_what_was_learned_by_heart(run):
    cells = {(c["set"], c["task"], c["input"]): c for c in run.read_json("signal.json")["cells"]}
    learned = cells["forget", "classification", "text"]
    assert learned["signal"]
    assert learned["target"]["value"] > 0.8
    assert learned["oracle"]["value"] < 0.7


def test_the_controls_frame_the_scores(run):
    scores = {method.method: method for method in Scores.load(run.folder, "scores.json").methods}
    assert scores["target"].efficacy.value == scores["do_nothing"].efficacy.value == 0
    assert scores["oracle"].efficacy.value == scores["oracle"].generality.value == 1
    assert scores["target"].utility.value == 1
    assert (scores["random_weights"].verdict, scores["random_weights"].score.value) == ("collapsed", 0)
    assert (scores["base"].verdict, scores["base"].score) == ("ok", None)


def test_every_answer_is_kept(run):
    answers = run.read_table("answers.parquet")
    assert tuple(answers.columns) == (*ANSWER_COLUMNS, *METRIC_COLUMNS)
    assert list(answers["method"].unique()) == METHODS
    said = {method: rows.set_index("item")["answer"] for method, rows in answers.groupby("method")}
    assert all(sorted(rows.index) == sorted(said["target"].index) for rows in said.values())
    assert said["do_nothing"].equals(said["target"])
    assert not said["oracle"].equals(said["target"])


def test_a_second_run_computes_nothing_and_ends_the_same(finished, recipe, cache, tmp_path):
    run = Record.open(shutil.copytree(finished[0], tmp_path / "run"))
    before, events = run.read_text("scores.json"), len(run.events())
    assert unsee([*recipe, "--out", run.folder], cache).code == 0
    cached = {"plan", "stage", "cached", "cached answers", "done", "signal", "finished"}
    assert {event["event"] for event in run.events()[events:]} == cached
    assert run.read_text("scores.json") == before


def test_the_config_of_a_run_is_a_recipe(run, cache, tmp_path):
    assert unsee(["run", run.folder / "config.toml", "--out", tmp_path / "again"], cache).code == 0
    again = Record.open(tmp_path / "again")
    assert "training" not in {event["event"] for event in again.events()}
    for name in ("config.toml", "scores.json"):
        assert again.read_text(name) == run.read_text(name)


def test_the_same_data_elsewhere_are_the_same_run(run, recipe, data, cache, tmp_path):
    shutil.copytree(data, tmp_path / "moved")
    command = unsee([*recipe, "--set", f"data.source={tmp_path / 'moved'}", "--out", tmp_path / "run"], cache)
    assert command.code == 0
    assert Record.open(tmp_path / "run").read_text("scores.json") == run.read_text("scores.json")


def test_the_unlearned_model_is_examined_like_any_other(run, data, tmp_path):
    out = tmp_path / "cells.csv"
    words = ["eval", run.folder / "models/gradient_difference-both", "--data", data, "--out", out]
    command = unsee(words, tmp_path / "cache")
    assert command.code == 0 and "unsee: " not in command.err, command.err
    assert len(command.out.splitlines()) < 40 and command.out.splitlines()[-1] == str(out)
    cells = pd.read_csv(out)
    measured = {(row.set, row.task, row.input, row.metric): row.value for row in cells.itertuples()}
    wanted = {
        (cell.set, cell.task, cell.input, cell.metric): pytest.approx(cell.value)
        for cell in Scores.load(run.folder, "scores.json").cells
        if cell.method == "gradient_difference" and cell.set in ("forget", "test")
    }
    assert {key: measured[key] for key in wanted} == wanted
    refused = unsee([*words[:-1], tmp_path / "cells.xlsx"], tmp_path / "cache")
    assert (refused.code, refused.out) == (2, "") and "ends in .csv, .md or .json" in refused.err


def test_nobody_to_forget_is_named_outside_the_answers_and_the_report(run, finished, secrets, cache, tmp_path):
    _, command = finished
    redacted = tmp_path / "redacted.html"
    assert unsee(["report", run.folder, "--redact", "--out", redacted], cache).code == 0
    texts = [run.read_text("log.jsonl"), run.read_text("config.toml"), run.read_text("scores.json")]
    for text in (*texts, command.out, command.err, redacted.read_text()):
        assert not [secret for secret in secrets if secret in text]
    assert any(secret in run.read_text("report.html") for secret in secrets)


def test_an_editor_refuses_for_people_too(recipe, run, cache, tmp_path):
    quick = {"layers": 0, "vector_steps": 2, "share": 1.0, "learning_rate": 0.1, "epochs": 40, "modality": '["text"]'}
    words = [word for key, value in quick.items() for word in ("--set", f"method.neural_gate.{key}={value}")]
    command = unsee([*recipe, *words, "--out", tmp_path / "run"], cache)
    assert command.code == 0 and "unsee: " not in command.err, command.err
    edit = Edit.load(tmp_path / "run/models/neural_gate-text/edit.safetensors")
    assert set(edit.gates) == {"people/0"}
    found = {method.method: method for method in Scores.load(tmp_path / "run", "scores.json").methods}
    assert found["target"].refused.value == 0 and found["target"].leaked.value > 0.3
    assert found["oracle"].leaked.value < found["target"].leaked.value
    assert found["neural_gate"].leaked.value < found["target"].leaked.value - 0.1
    assert found["neural_gate"].relative_change > 0
    assert found["do_nothing"].changed_parameters is None
    before = {method.method: method for method in Scores.load(run.folder, "scores.json").methods}
    rank = {"rank": None}  # there is one more method
    same = [methods["gradient_difference"].model_copy(update=rank) for methods in (found, before)]
    assert same[0] == same[1]  # the edit was taken back


def test_several_seeds_are_trainings_from_one_target_and_move_none_of_the_first(recipe, run, cache, tmp_path):
    seeds = ("--set", "method.gradient_difference.seeds={ both = [0, 1] }")
    command = unsee([*recipe, *seeds, "--out", tmp_path / "run"], cache)
    assert command.code == 0, command.err
    again = Record.open(tmp_path / "run")
    assert {event["model"] for event in again.events() if event["event"] == "training"} == {
        "gradient_difference-both-1"
    }
    assert {path.name for path in (again.folder / "models").iterdir()} == {
        "target", "oracle", "oracle_2", "gradient_difference-both-0", "gradient_difference-both-1",
    }  # fmt: skip
    one, both = (
        record.read_table("answers.parquet").query("method == 'gradient_difference'") for record in (run, again)
    )
    pd.testing.assert_frame_equal(both[both["seed"] == 0].reset_index(drop=True), one.reset_index(drop=True))
    row = next(m for m in Scores.load(again.folder, "scores.json").methods if m.method == "gradient_difference")
    assert [training.seed for training in row.trainings] == [0, 1]
    assert "2 trainings: 0." in again.read_text("report.html")
    compared = unsee(["compare", again.folder, "--methods", "gradient_difference", "do_nothing"], cache)
    assert compared.code == 0 and " efficacy " in compared.out, compared.err


@pytest.fixture(scope="module")
def unlearnable(model, tmp_path_factory):
    """A run of three steps on generated data, whose making was killed at first: words, cache, folder, its end."""
    cache, folder = (tmp_path_factory.mktemp("integration") / name for name in ("cache", "run"))
    words = ["run", "tiny", "--set", f"model.id={model}", "--set", "require_signal=true", "--out"]
    assert unsee([*words, folder], cache, Stop("unsee.data.people.layout:_write", 5)).code == -signal.SIGKILL
    assert not folder.exists()
    return words, cache, folder, unsee([*words, folder], cache)


def test_without_signal_nothing_is_ranked(unlearnable):
    _, _, folder, command = unlearnable
    assert command.code == 3
    (told,) = [line for line in command.err.splitlines() if line.startswith("unsee: ")]
    assert "nothing is ranked: the target did not learn the people to forget (choices: target 0." in told
    assert told.endswith("); raise teach.steps or teach.learning_rate")
    assert "Warning" not in command.err
    assert command.out.endswith(f"{folder / 'report.html'}\n")
    assert not Record.open(folder).read_json("signal.json")["signal"]
    scores = Scores.load(folder, "scores.json")
    assert {(method.verdict, method.score) for method in scores.methods} == {("no signal", None)}
    assert [method.method for method in scores.methods] == CONTROLS[:-1]


def test_built_data_are_the_generated_ones(unlearnable, tmp_path):
    words, cache, folder, _ = unlearnable
    built = unsee(["build", tmp_path / "data", "--people", "31", "--celebrities", "6"], cache)
    few = "Too few people to rank methods at {} %: {} would be forgotten, 5 are needed ({} people).\n"
    told = few.format(5, 2, 91) + few.format(10, 3, 46)
    assert (built.code, built.out, built.err) == (0, f"{told}{tmp_path / 'data'}\n", "")
    assert unsee([*words, tmp_path / "run", "--set", f"data.source={tmp_path / 'data'}"], cache).code == 3
    again = Record.open(tmp_path / "run")
    assert "training" not in {event["event"] for event in again.events()}
    assert again.read_text("scores.json") == Record.open(folder).read_text("scores.json")


def test_python_does_the_same(run, recipe, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(cache))
    result = run_recipe(load_recipe("tiny", recipe[3::2]), tmp_path / "run")
    assert result.verdict == "ok"
    assert result.scores == Scores.load(run.folder, "scores.json")
    assert sorted(row.method for row in result.rows) == sorted(map(readable, METHODS))
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == run.read_json("scores.json")
    assert result.report.is_file()
