"""Adapters as models: base and adapter are found, fit each other and come whole, or one sentence says what to do."""

import json
import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from unsee.cli import main
from unsee.core.errors import ModelError
from unsee.models.vlm import VLM
from unsee.training.train import Scorer

pytestmark = pytest.mark.slow


def scores(vlm):
    with torch.no_grad():
        return Scorer(vlm)(tiny.make_batch(vlm)).logits_UV


def adapt(vlm, folder, base=""):
    """Save a new adapter on top of the model."""
    with torch.no_grad():
        for parameter in vlm.add_lora(4, 8):
            parameter += 0.1
    vlm.save(folder, base)
    return folder


@pytest.fixture
def base(tmp_path):
    return tiny.save_model(tmp_path / "base")


@pytest.fixture
def vlm(base):
    return VLM.load(str(base))


@pytest.fixture
def adapter(vlm, tmp_path):
    return adapt(vlm, tmp_path / "lora")


def settings(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def tensors(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def test_an_adapter_is_a_model_wherever_its_base_is_named(vlm, adapter, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for named in (str(base), "base", "../base"):
        settings(adapter, base_model_name_or_path=named)
        loaded = VLM.load(str(adapter))
        torch.testing.assert_close(scores(loaded), scores(vlm))
        assert (loaded.id, loaded.adapter, loaded.trainable()) == (str(adapter), None, [])
    loaded.reload()
    torch.testing.assert_close(scores(loaded), scores(vlm))


def test_an_adapter_of_a_shipped_model_names_it(tmp_path):
    vlm = VLM.load("nano")
    loaded = VLM.load(str(adapt(vlm, tmp_path / "lora")))
    assert json.loads((tmp_path / "lora" / "adapter_config.json").read_text())["base_model_name_or_path"] == "nano"
    vlm.merge_lora()
    for name, tensor in vlm.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], tensor)


@pytest.mark.parametrize("moved", [False, True])
def test_adapters_lie_one_on_the_other(vlm, adapter, tmp_path, moved):
    second = adapt(vlm, tmp_path / "second", "../lora")
    if moved:
        (tmp_path / "elsewhere").mkdir()
        shutil.move(adapter, tmp_path / "elsewhere" / "lora")
        second = shutil.move(second, tmp_path / "elsewhere" / "second")
    torch.testing.assert_close(scores(VLM.load(str(second))), scores(vlm))


def test_a_second_adapter_lies_on_the_folder_that_was_loaded(adapter, tmp_path):
    loaded = VLM.load(str(adapter))
    second = adapt(loaded, tmp_path / "second")
    torch.testing.assert_close(scores(VLM.load(str(second))), scores(loaded))


def test_the_processor_is_the_adapters_own_or_that_of_its_base(vlm, adapter, base):
    path = adapter / "chat_template.jinja"
    path.write_text(path.read_text().replace("'|>'", "'|> '"))
    assert VLM.load(str(adapter)).template(with_image=False).before == "<|user|> "
    (adapter / "processor_config.json").unlink()
    assert VLM.load(str(adapter)).template(with_image=False).before == "<|user|>"
    (base / "processor_config.json").unlink()
    with pytest.raises(ModelError, match="holds no processor"):
        VLM.load(str(adapter))


def test_the_card_says_what_the_folder_is(adapter, base):
    card = (adapter / "README.md").read_text()
    assert str(base) in card
    assert "unsee models merge BASE FOLDER --out DIR" in card
    assert "Model Card for Model ID" not in card


BROKEN = {
    "no base": (lambda folder: settings(folder, base_model_name_or_path=None), "does not name its base model"),
    "missing base": (lambda folder: settings(folder, base_model_name_or_path="gone"), "an adapter of gone, which is"),
    "itself as base": (lambda folder: settings(folder, base_model_name_or_path="."), "is an adapter of itself"),
    "no JSON": (lambda folder: (folder / "adapter_config.json").write_text("{"), "configuration cannot be loaded"),
    "a list": (lambda folder: (folder / "adapter_config.json").write_text("[]"), "does not name its base model"),
    "unknown kind": (lambda folder: settings(folder, peft_type="NEW"), "adapter cannot be loaded: .*NEW"),
    "other modules": (lambda folder: settings(folder, target_modules=["c_attn"]), "c_attn"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "holds no weights of an adapter"),
    "cut weights": (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"0" * 9), "cannot be loaded"),
    "other names": (
        lambda folder: tensors(folder, lambda found: {f"base_model.model.other.{n}": t for n, t in found.items()}),
        r"\d+ of its tensors have no place in this model, such as base_model\.model\.other",
    ),
    "one name too many": (
        lambda folder: tensors(folder, lambda found: found | {"base_model.model.x.lora_A.weight": torch.ones(2, 2)}),
        r"1 of its tensors have no place in this model, such as base_model\.model\.x",
    ),
    "one name too few": (lambda folder: tensors(folder, lambda found: dict([*found.items()][1:])), "1 .* are missing"),
    "other rank": (lambda folder: settings(folder, r=5), "size mismatch"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_adapter_that_cannot_be_used_says_why_in_one_sentence(adapter, broken, tmp_path):
    break_it, reason = BROKEN[broken]
    break_it(adapter)
    with pytest.raises(ModelError, match=reason) as caught:
        VLM.load(str(adapter))
    assert str(adapter) in str(caught.value)
    assert "\n" not in str(caught.value)
    if "base" in broken:
        assert f"`unsee models merge BASE {adapter} --out DIR`" in str(caught.value)


@pytest.mark.parametrize("broken", [name for name in BROKEN if "weights" in name or "name" in name or "rank" in name])
def test_nothing_is_written_when_an_adapter_does_not_fit(adapter, base, broken, tmp_path, capsys):
    BROKEN[broken][0](adapter)
    assert main(["models", "merge", str(base), str(adapter), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"unsee: {adapter}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_adapters_are_merged_in_their_order_only(vlm, base, adapter, tmp_path, capsys):
    second = adapt(vlm, tmp_path / "second", "../lora")
    out = str(tmp_path / "out")
    assert main(["models", "merge", str(base), str(second), "--out", out]) == 2
    assert "was trained on top of the adapter" in capsys.readouterr().err
    assert main(["models", "merge", str(adapter), str(second), "--out", out]) == 0
    torch.testing.assert_close(scores(VLM.load(out)), scores(vlm))


def test_a_base_that_cannot_be_loaded_is_named_with_its_adapter(adapter, base):
    (base / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json is not valid JSON .*; it is the base model of") as caught:
        VLM.load(str(adapter))
    assert f"`unsee models merge BASE {adapter} --out DIR`" in str(caught.value)
