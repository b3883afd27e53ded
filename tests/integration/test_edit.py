"""`unsee edit` and `unsee edits` on a model of the tiny kind."""

import json
import re

import privacy
import pytest
import tiny

from unsee.cli import main
from unsee.edits.edit import Edit, Editor, applied
from unsee.models.vlm import VLM

QUICK = ["--set", "epochs=2", "--set", "layers=0", "--set", "vector_steps=3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.save_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def pairs(tmp_path):
    return privacy.write_pairs(tmp_path, privacy.make_pairs(2, 2, categories=2))


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_an_edit_is_computed_listed_and_applied_and_its_frequencies_are_used_again(capsys, model, pairs, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    code, out, _ = run(capsys, "edit", model, "--data", pairs, "--out", first, "--model", *QUICK)
    assert code == 0
    assert out.splitlines()[-1] == str(first / "edit.safetensors")
    edit = Edit.load(first / "edit.safetensors")
    assert set(edit.gates) == {"person 0/0", "person 1/0"}
    assert applied(VLM.load(str(first / "model"))) == [edit.id]

    options = ["--frequencies", first / "edit.safetensors", "--set", "share=0.5"]
    assert run(capsys, "edit", model, "--data", pairs, "--out", second, *QUICK, *options)[0] == 0
    again = Edit.load(second / "edit.safetensors")
    assert int(again.gates["person 0/0"].sum()) > int(edit.gates["person 0/0"].sum())

    files = [first / "edit.safetensors", second / "edit.safetensors"]
    code, out, _ = run(capsys, "edits", "list", *files)
    assert code == 0
    assert edit.id in out and again.id in out
    assert run(capsys, "edits", "apply", model, files[0], "--out", tmp_path / "whole")[0] == 0
    edited = VLM.load(str(tmp_path / "whole"))
    by_hand = VLM.load(model)
    Editor(by_hand).apply(edit)
    assert edited.fingerprint() == by_hand.fingerprint()


def test_edits_are_merged(capsys, model, pairs, tmp_path):
    for method in ("ft_l", "memflex"):
        words = ["--method", method, "--set", "epochs=1", "--out", tmp_path / method]
        assert run(capsys, "edit", model, "--data", pairs, *words)[0] == 0
    files = [tmp_path / method / "edit.safetensors" for method in ("ft_l", "memflex")]
    code, out, _ = run(capsys, "edits", "merge", *files, "--out", tmp_path / "both.safetensors")
    assert (code, out.strip()) == (0, str(tmp_path / "both.safetensors"))
    assert Edit.load(tmp_path / "both.safetensors").method == "ft_l+memflex"


def test_the_model_gives_missing_benign_answers(capsys, model, tmp_path):
    pairs = privacy.write_pairs(tmp_path, [privacy.make_pair(answer=None)])
    words = ["--method", "ft_l", "--set", "epochs=1", "--out", tmp_path / "edit"]
    assert run(capsys, "edit", model, "--data", pairs, *words)[0] == 0


def test_a_model_is_never_overwritten(capsys, model, pairs, tmp_path):
    own = tiny.save_model(tmp_path / "folder" / "model")
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    words = ["edit", own, "--data", pairs, "--method", "ft_l", "--set", "epochs=1"]
    assert run(capsys, *words, "--out", tmp_path / "edit")[0] == 0
    for again in (
        ["edits", "apply", own, tmp_path / "edit" / "edit.safetensors", "--out", own],
        [*words, "--model", "--out", own.parent],
    ):
        code, _, err = run(capsys, *again)
        assert (code, "model: already exists and is not empty" in err) == (2, True)
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    assert [path.name for path in own.parent.iterdir()] == ["model"]


def rewrite(path, **change):
    rows = [json.loads(line) | change for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "layers=7"], "layers: '7' is out of range; the decoder has the layers 0 to 1"),
        (["--set", "shar=1"], "method.neural_gate.shar: unknown option; did you mean 'share'"),
        (["--method", "npo"], r"method npo: does not edit a model \(these do: alphaedit, dinm"),
        (["--method", "neural"], "did you mean 'neural_gate'"),
        (["--method", "ft_l", "--frequencies", "x"], "frequencies: method ft_l has no gate"),
        (["--frequencies", "nowhere.safetensors"], "nowhere.safetensors: is not an edit that can be read"),
        (["--set", "share"], "--set share: must have the form key=value"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_nothing_is_written(capsys, model, pairs, tmp_path, words, message):
    code, out, err = run(capsys, "edit", model, "--data", pairs, "--out", tmp_path / "edit", *words)
    assert (code, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert re.search(message, line)
    assert not (tmp_path / "edit").exists()


def test_bad_pairs_are_an_error(capsys, model, pairs, tmp_path):
    for change, message in (
        ({"subject": "Passport"}, "pairs.jsonl, line 1: the subject 'Passport' is not in the sensitive question"),
        ({"image": "nowhere.png"}, "image 'nowhere.png' does not exist in"),
    ):
        own = tmp_path / "pairs.jsonl"
        rewrite(own, **change)
        code, _, err = run(capsys, "edit", model, "--data", own, "--out", tmp_path / "edit")
        assert code == 2
        assert message in err
        rewrite(own, subject="person", image="0.png")


def test_a_refusal_without_tokens_is_an_error_and_nothing_is_written(capsys, pairs, tmp_path):
    tiny.deaf(tiny.make_vlm()).save(tmp_path / "deaf")
    rewrite(pairs, refusal="拒绝")
    code, out, err = run(capsys, "edit", tmp_path / "deaf", "--data", pairs, "--out", tmp_path / "edit")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"unsee: refusal '拒绝': tokenizes to nothing in model {tmp_path / 'deaf'}"
    assert not (tmp_path / "edit").exists()


def test_an_edit_of_another_model_or_twice_is_refused(capsys, model, pairs, tmp_path):
    run(capsys, "edit", model, "--data", pairs, "--out", tmp_path / "edit", "--model", *QUICK)
    file, other = tmp_path / "edit" / "edit.safetensors", tiny.save_model(tmp_path / "other", seed=1)
    for where, message in ((other, "was made for another model"), (tmp_path / "edit" / "model", "already")):
        code, _, err = run(capsys, "edits", "apply", where, file, "--out", tmp_path / "whole")
        assert code == 2
        assert message in err
        assert not (tmp_path / "whole").exists()
