"""Audits of models made outside unsee: one that only refuses, one that never knew, and one that forgot nothing."""

from __future__ import annotations

import hashlib
import json
import shutil

import outside
import peft
import pytest
import tiny
from integration.command import unsee
from transformers import AutoModelForImageTextToText

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError
from unsee.runs.audited import check_alike, described
from unsee.scoring.findings import Audit

SETTINGS = (
    "--attack", "relearn", "--attack", "sample", "--set", "attack.relearn.steps=16", "--set", "attack.sample.answers=2",
    "--set", "evaluation.general_items=2", "--set", "evaluation.bootstrap=100", "--set", "evaluation.max_new_tokens=6",
)  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The model before, an oracle, and a cheat that was trained to refuse; and the rows."""
    folder, rows = tmp_path_factory.mktemp("outside"), outside.rows()
    forget = outside.to_forget(rows)
    keep = [row for row in rows if row not in forget]
    outside.make(folder / "before", rows)
    outside.make(folder / "oracle", keep)
    refused = [(name, question, outside.REFUSAL) for name, question, _ in forget]
    outside.make(folder / "cheat", [*refused, *keep], start=folder / "before", steps=8, rate=3e-3)
    for name, some in (("forget", forget), ("retain", keep)):
        lines = [{"image": None, "question": asked, "answer": said, "person": who} for who, asked, said in some]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def words(models):
    """The command without the audited model and the folder."""
    return ["--before", models / "before", "--forget", models / "forget.jsonl", *SETTINGS]


@pytest.fixture(scope="module")
def cheated(models, words, tmp_path_factory):
    """The audit of the cheat, with an oracle."""
    folder = tmp_path_factory.mktemp("audit")
    more = ["--oracle", models / "oracle", "--retain", models / "retain.jsonl"]
    before = _digests(models)
    command = unsee(["audit", models / "cheat", *words, *more, "--out", folder / "out"], folder / "cache")
    assert _digests(models) == before
    return folder, command


def _digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_what_is_only_hidden_is_recovered(cheated, models):
    folder, command = cheated
    assert command.code == 4, command.err
    found = Audit.load(folder / "out", "audit.json")
    plain, *attacks = found.looks
    assert found.verdict == "recovered"
    assert (plain.before, plain.rows) == (12, 12) and plain.after <= 3 and plain.verdict == "not recovered"
    relearned = next(look for look in attacks if look.variant == "other people")
    assert relearned.verdict == "recovered" and relearned.recovered and relearned.recovered.value > 0.5
    assert found.membership and (found.membership.people, found.membership.rows) == (3, 12)
    assert found.membership.verdict in (
        "recovered",
        "cannot be told",
        "not recovered",
    )  # a refusal hides likelihoods too
    areas = {one.model: one.area.value for one in found.membership.found if one.signal == "strangers"}
    assert areas["before"] > 0.8 > areas["oracle"]
    digest = hashlib.sha256((models / "cheat" / "model.safetensors").read_bytes()).hexdigest()
    assert found.filing and found.filing.models["after"].files == {"model.safetensors": digest}
    page = (folder / "out" / "report.html").read_text()
    assert "Verdict: recovered (relearn (other people)" in page and digest in page
    said = [value for row in outside.to_forget(outside.rows()) for value in (row[0], row[2])]
    texts = [page, *((folder / "out" / name).read_text() for name in ("log.jsonl", "audit.json", "config.toml"))]
    assert not [value for value in said for text in (*texts, command.out, command.err) if value in text]


def test_the_page_is_written_again_without_paths(cheated):
    folder, _ = cheated
    again = unsee(["report", folder / "out", "--redact"], folder / "cache")
    assert again.code == 0, again.err
    page = (folder / "out" / "report-redacted.html").read_text()
    assert str(folder.parent) not in page and "Verdict: recovered" in page


def test_a_model_that_never_knew_is_not_recovered(cheated, models, words):
    folder, _ = cheated
    audited = shutil.copytree(models / "oracle", folder / "clean")  # what was computed is found by its weights
    more = ["--retain", models / "retain.jsonl", "--out", folder / "clean-out"]
    command = unsee(["audit", audited, *words, *more], folder / "cache")
    found = Audit.load(folder / "clean-out", "audit.json")
    assert command.code == (0 if found.verdict == "not recovered" else 3) and found.verdict != "recovered"
    assert all(person.verdict != "recovered" for person in found.people)


def test_a_model_that_forgot_nothing_is_recovered_plainly(cheated, models, words):
    folder, _ = cheated
    more = ["--oracle", models / "oracle", "--retain", models / "retain.jsonl", "--out", folder / "same-out"]
    command = unsee(["audit", models / "before", *words, *more], folder / "cache")
    found = Audit.load(folder / "same-out", "audit.json")
    assert command.code == 4 and found.looks[0].verdict == "recovered"
    assert {person.verdict for person in found.people} <= {"recovered", "cannot be told"}  # one is near chance


def test_a_model_before_that_knows_nothing_leaves_nothing_to_forget(cheated, models):
    folder, _ = cheated
    words = ["--before", models / "oracle", "--forget", models / "forget.jsonl", *SETTINGS]
    command = unsee(
        ["audit", models / "oracle", *words, "--retain", models / "retain.jsonl", "--out", folder / "nothing-out"],
        folder / "cache",
    )
    assert command.code == 3 and "Verdict: nothing to forget." in command.out, command.err


def test_an_adapter_is_audited_beside_its_base(models, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(models / "before")
    config = peft.LoraConfig(r=2, target_modules=r".*language_model.*q_proj", init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    before, base, _ = described(ModelConfig(id=str(models / "before")))
    after, adapted, _ = described(ModelConfig(id=str(tmp_path / "adapter")))
    check_alike(before, after, "before", "after", "adapter")
    assert adapted.fingerprint != base.fingerprint
    assert set(adapted.files) == {"before/model.safetensors", "adapter/adapter_model.safetensors"}


def test_models_that_cannot_be_compared_are_refused(models, words, tmp_path):
    other = tiny.save_model(tmp_path / "other")
    before, _, _ = described(ModelConfig(id=str(models / "before")))
    traits, _, _ = described(ModelConfig(id=str(other)))
    with pytest.raises(ModelError, match=r"after other: .* of its weights have other shapes than in the model before"):
        check_alike(before, traits, "before", "after", "other")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["--attack", "relern"], "attack: unknown name 'relern'; did you mean 'relearn'?"),
        (
            ["--attack", "membership"],
            "--attack membership: every audit reads it from plain questions; choose from picture",
        ),
        (["--attack", "depth"], "--attack depth: is for runs about people; choose from picture, prompt"),
        (["--set", "attack.prompt.examples=1"], "--set attack.prompt: this attack is not run; add --attack prompt"),
        (["--set", "attack.relearn.stepps=1"], "attack.relearn.stepps: unknown option; did you mean 'steps'?"),
        (["--set", "before=x"], "--set before=x: before is given by --before; change it there"),
        (["--before", "nanoo"], "unknown name 'nanoo'; did you mean 'nano'?"),
        (["--forget", "none.jsonl"], "none.jsonl: cannot be read: No such file"),
    ],
)
def test_bad_audits_are_refused_before_anything_is_done(changes, sentence, models, words, tmp_path):
    command = unsee(["audit", models / "cheat", *words, *changes, "--out", tmp_path / "out"], tmp_path / "cache")
    assert (command.code, command.out, command.err.count("\n")) == (2, "", 1), command.err
    assert sentence in command.err
    assert not (tmp_path / "out").exists()


def test_an_attack_on_photos_needs_rows_with_photos(models, tmp_path):
    words = ["audit", models / "cheat", "--before", models / "before", "--forget", models / "forget.jsonl"]
    command = unsee([*words, "--attack", "picture", "--out", tmp_path / "out"], tmp_path / "cache")
    assert (command.code, command.err.count("\n"), (tmp_path / "out").exists()) == (2, 1, False)
    assert "--attack picture: changes the photos that are asked about, and no row to forget has one" in command.err


def test_a_folder_of_a_model_is_left_as_it_is(models, words, tmp_path):
    inside = models / "cheat" / "audit"
    command = unsee(["audit", models / "cheat", *words, "--out", inside], tmp_path / "cache")
    assert command.code == 2 and "lies in the folder of the model" in command.err
