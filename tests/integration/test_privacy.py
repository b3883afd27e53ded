"""The privacy commands on a tiny model with random weights: exit codes, files and what is printed."""

import json

import privacy
import pytest
from published_pairs import write_published
from tiny import save_model

from unsee.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def published(tmp_path):
    return write_published(tmp_path / "data", tmp_path / "images", {"passport": ("Passport", 3, "p2_org/images")})


def test_build_answers_pairs(model, tmp_path, capsys):
    data, before, pairs = (str(tmp_path / name) for name in ("data", "before.json", "pairs.jsonl"))
    assert main(["privacy", "build", data, "--images", "1", "--unseen-subject", "receipt"]) == 0
    privacy.without_most_further_kinds(tmp_path / "data")
    assert main(["privacy", "answers", model, "--data", data, "--out", before]) == 0
    assert main(["privacy", "pairs", "--data", data, "--answers", before, "--out", pairs]) == 0
    assert capsys.readouterr().out.split() == [data, before, pairs]
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(rows) == 25 and not any(row["subject"] == "receipt" for row in rows)
    held = json.loads((tmp_path / "before.json").read_text())["answers"]
    assert all(row.get("benign_answer", "") == held[row["case"]][row["benign"]] for row in rows)


def test_eval_prints_scores_by_each_judge_and_their_agreement(model, published, capsys):
    images = str(published.parent / "images")
    assert main(["privacy", "eval", model, "--data", str(published), "--images", images]) == 0
    out = capsys.readouterr().out
    head, *rows = [line.split() for line in out.splitlines() if line.strip() and set(line) - set(" \u2500")]
    assert " ".join(head) == "set judge RtA over-refusal EtA leak rate benign right"
    judges = ("likelihood", "opening", "phrases")
    assert [row[:2] for row in rows[:6]] == [[name, judge] for name in ("seen", "unseen_images") for judge in judges]
    assert rows[6] == ["judge", "other", "judge", "kappa", "replies"] and len(rows) == 10


def test_missing_images_stop_it_before_the_model_is_loaded(published, capsys):
    assert main(["privacy", "eval", "no-such-model", "--data", str(published)]) == 2
    assert "3 of 3 images are missing" in capsys.readouterr().err


def test_missing_images_are_left_out_where_that_is_wanted(published, tmp_path, capsys):
    images = published.parent / "images"
    next(path for path in sorted(images.rglob("*.jpg"))[::-1]).unlink()
    command = ["privacy", "pairs", "--data", str(published), "--images", str(images), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "1 of 3 images are missing" in capsys.readouterr().err
    assert main([*command, "--skip-missing"]) == 0
    assert capsys.readouterr().err == "left out 1 missing pictures and the questions about them\n"


def test_an_unknown_format_names_the_nearest(published, capsys):
    assert main(["privacy", "eval", "nano", "--data", str(published), "--benchmark", "mllmgard"]) == 2
    assert "did you mean 'mllmguard'" in capsys.readouterr().err
