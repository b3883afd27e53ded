"""A run and a request in two processes end as they do in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import tiny
from integration.command import unsee
from together import divided, together

from unsee.cli import main
from unsee.core.record import Record
from unsee.data.documents.builder import build
from unsee.data.people.mllmu import load

CLOSE = 1e-5
NUMBERS = ["probability"]


def command(words, cache):
    os.environ["UNSEE_CACHE"] = str(cache)
    return main(words)


def check_same(folder, alone, loss="retain"):
    """The same files, losses, answers and scores."""
    here, there = Record.open(folder), Record.open(alone)
    names = [{str(path.relative_to(record.folder)) for path in record.folder.rglob("*")} for record in (here, there)]
    assert names[0] == names[1]
    steps = [[event[loss] for event in record.events() if event["event"] == "step"] for record in (here, there)]
    assert len(steps[1]) > 0
    assert steps[0] == pytest.approx(steps[1], abs=CLOSE)
    answers, expected = (record.read_table("answers.parquet") for record in (here, there))
    pd.testing.assert_frame_equal(answers.drop(columns=NUMBERS), expected.drop(columns=NUMBERS))
    pd.testing.assert_frame_equal(answers[NUMBERS], expected[NUMBERS], atol=CLOSE, rtol=0)


@pytest.mark.soak
def test_a_run(model, data, tmp_path):
    changes = {
        "data.source": data, "model.id": model, "teach.replay": 0, "teach.steps": 2, "require_signal": "true",
        "data.retain_evaluated": 2, "data.celebrities_evaluated": 2, "evaluation.max_new_tokens": 2,
        "evaluation.general_items": 2,
    }  # fmt: skip
    words = ["run", "tiny", *(word for key, value in changes.items() for word in ("--set", f"{key}={value}")), "--out"]
    assert unsee([*words, tmp_path / "alone"], tmp_path / "cache").code == 3
    codes = together(2, command, [*words, str(tmp_path / "both")], tmp_path / "other")
    assert codes == [3, 0]  # two steps give no signal, which the main process says
    check_same(tmp_path / "both", tmp_path / "alone")


RECIPE = """
name = "two_gpus"
unlearn = { batch_tokens = 600 }
evaluation = { general_items = 4, max_new_tokens = 2, bootstrap = 100 }
method = { npo = { steps = 2 } }
"""


@pytest.mark.soak
def test_a_run_whose_stages_have_two_gpus_each(tmp_path, monkeypatch):
    monkeypatch.setattr("unsee.runs.graph._gpus", lambda: 2)  # there is none, so two processes share the CPU
    build(tmp_path / "documents", images=1, unseen_subject="passport")
    for subject in ("phone_number", "government_document", "military_vehicle"):
        (tmp_path / "documents" / f"{subject}.json").unlink()
    model = f'model.id = "{tiny.save_model(tmp_path / "model")}"\n'
    (tmp_path / "recipe.toml").write_text(f'{model}privacy.source = "{tmp_path / "documents"}"\n{RECIPE}')
    words = ["run", tmp_path / "recipe.toml", "--workers", "1", "--out"]
    assert unsee([*words, tmp_path / "alone"], tmp_path / "cache").code == 3
    said = unsee([*words, tmp_path / "both", "--set", "resources.gpus=2"], tmp_path / "other")
    assert said.code == 3, said.err
    check_same(tmp_path / "both", tmp_path / "alone", loss="forget")
    events = Record.open(tmp_path / "both").events()
    begun = [event["number"] for event in events if event["event"] == "stage"]
    assert sorted(begun) == [1, 2, 3, 4]  # the worker itself says nothing


@pytest.mark.soak
def test_a_request_started_by_accelerate_and_with_divided_weights(model, data, tmp_path):
    benchmark = load(data, 15)
    for name, people in (("forget", benchmark.forget[:3]), ("retain", benchmark.retain[:3])):
        rows = []
        for person in people:
            (tmp_path / f"{person.id}.png").write_bytes(person.images[0])
            question = next(question for question in person.questions if question.task == "train")
            row = {"question": question.question, "answer": question.answer, "person": person.name}
            rows.append(json.dumps(row | {"image": f"{person.id}.png"}) + "\n")
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    words = [
        "unlearn", str(model), "--forget", str(tmp_path / "forget.jsonl"), "--retain", str(tmp_path / "retain.jsonl"),
        "--method", "npo", "--set", "method.npo.steps=3", "--set", "evaluation.general_items=2", "--out",
    ]  # fmt: skip
    (code,) = together(1, command, [*words, str(tmp_path / "alone")], tmp_path / "cache")
    assert code in (0, 4)  # three steps forget nobody, and may break what knows nobody
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    started = subprocess.run(
        [*launcher, "--main_process_port", "0", "-m", "unsee", *words, str(tmp_path / "both")],
        env=os.environ | {"UNSEE_CACHE": str(tmp_path / "other")}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert bool(started.returncode) == bool(code), started.stderr
    assert started.stdout.count("report.html") == 1
    check_same(tmp_path / "both", tmp_path / "alone")
    apart = together(2, divided, command, [*words, str(tmp_path / "apart")], tmp_path / "third")
    assert apart == [code, 0]
    check_same(tmp_path / "apart", tmp_path / "alone")
