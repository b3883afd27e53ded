"""Runs on data in the form of other published benchmarks, from the command line to the page."""

from __future__ import annotations

import io
import json
import random

import published_others as published
import pytest
from integration.command import unsee

from unsee.core.record import Record
from unsee.data.people.portraits import draw_look, draw_portrait, draw_scene
from unsee.scoring.schema import Scores

WRITERS = {"clear": published.write_clear, "fiubench": published.write_fiubench, "umu": published.write_umu}
SETS = {
    "clear": {"forget", "retain", "celebrity"}, "fiubench": {"forget", "test", "retain"},
    "umu": {"forget", "retain", "celebrity"},
}  # fmt: skip


@pytest.fixture(params=WRITERS)
def format(request):
    return request.param


@pytest.fixture
def folder(format, tmp_path):
    return WRITERS[format](tmp_path / "data")


def test_a_run_ends_with_the_page(format, folder, model, tmp_path):
    changes = {
        "data.source": folder, "data.forget_percent": 5, "data.retain_evaluated": 2, "data.celebrities_evaluated": 2,
        "model.id": model, "teach.replay": 0, "teach.steps": 2, "teach.batch_tokens": 300, "teach.turns": 5,
        "evaluation.general_items": 2, "evaluation.max_new_tokens": 2, "method.gradient_difference.steps": 1,
    }  # fmt: skip
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    finished = unsee(["run", "tiny", *words, "--out", tmp_path / "run"], tmp_path / "cache")
    assert finished.code in (0, 3), finished.err
    said = [line for line in finished.err.splitlines() if line.startswith("data: ")]
    assert said[0].startswith("data: licence: ") and said[1].startswith("data: rows used: ")
    record = Record.open(tmp_path / "run")
    events = [json.loads(line) for line in record.read_text("log.jsonl").splitlines()]
    assert [f"data: {event['note']}" for event in events if event["event"] == "data"] == said
    assert f'format = "{format}"' in record.read_text("config.toml")
    scores = Scores.load(record.folder, "scores.json")
    assert {cell.set for cell in scores.cells} - {"general"} == SETS[format]
    further = {"clear": {"truth_ratio"}, "fiubench": {"truth_ratio", "keyword_recall"}, "umu": set()}[format]
    assert set(scores.further_metrics) == further
    both = {(cell.set, cell.metric) for cell in scores.cells if cell.input == "both"}
    if format == "umu":
        assert both == {
            ("forget", "acc_f"), ("forget", "rl_f"), ("retain", "acc_r"), ("retain", "rl_r"), ("celebrity", "acc_r"),
            ("celebrity", "rl_r"),
        }  # fmt: skip
    assert (">in both</th>" in record.read_text("report.html")) == scores.has_pairs


def test_one_model_is_asked_and_the_shape_is_compared(format, folder, model, tmp_path):
    words = ["--data", folder, "--forget-percent", "5", "--out", tmp_path / "cells.json"]
    asked = unsee(["eval", model, *words], tmp_path / "cache")
    assert asked.code == 0, asked.err
    assert "data: licence: " in asked.err
    cells = json.loads((tmp_path / "cells.json").read_text())
    assert cells["forget_percent"] == 5 and {cell["set"] for cell in cells["cells"]} - {"general"} == SETS[format]
    compared = unsee(["conformance", model, "--data", folder], tmp_path / "cache")
    assert compared.code == 1
    assert "fail" in compared.out and "people at 5 %" in compared.out


def test_a_drifted_column_is_one_sentence_and_exit_code_2(model, tmp_path):
    folder = published.write_clear(tmp_path / "data")
    published.rename(folder, "forget05_perturbed", "perturbed_captions", "perturbed_caption")
    for words in (["eval", model, "--data", folder, "--forget-percent", "5"],
                  ["run", "tiny", "--set", f"data.source={folder}", "--set", "data.forget_percent=5",
                   "--set", f"model.id={model}", "--out", tmp_path / "run"]):  # fmt: skip
        refused = unsee(words, tmp_path / "cache")
        assert refused.code == 2
        assert "column 'perturbed_captions' is missing" in refused.err
        assert "the nearest is 'perturbed_caption'" in refused.err


@pytest.mark.soak
def test_nano_learns_the_people_and_forgets_some(format, tmp_path, monkeypatch):
    def portrait(number):
        person = number // 10 if format == "clear" else number  # two photos of each person there
        file = io.BytesIO()
        draw_portrait(draw_look(random.Random(person), "female"), draw_scene(random.Random(number))).save(file, "PNG")
        return file.getvalue()

    monkeypatch.setattr(published.tiny, "png", portrait)
    words = ["--set", f"data.source={WRITERS[format](tmp_path / 'data')}", "--set", "data.forget_percent=5",
             "--set", "teach.steps=150"]  # fmt: skip
    finished = unsee(["run", "quick", *words, "--out", tmp_path / "run"], tmp_path / "cache")
    assert finished.code == 0, finished.err
    methods = {method.method: method for method in Scores.load(tmp_path / "run", "scores.json").methods}
    assert methods["npo"].score.value > 0
