import re

import families
import pytest
import torch
from safetensors.torch import load_file, save_file

from unsee.cli import main
from unsee.config.recipe import load_model_config
from unsee.runs.model_check import check


@pytest.fixture
def folder(tmp_path):
    return families.save_model("qwen2_5_vl", tmp_path / "model")


def test_a_model_is_checked_from_its_parts_to_a_training_step(folder):
    vlm = families.make_vlm("qwen2_5_vl")
    found = dict(check(load_model_config(str(folder), ["model.lora_rank=2"])))
    assert list(found) == [
        "loaded", "parameters", "weights", "decoder", "projector", "vision tower", "prompt", "answer", "tokens",
        "forward", "generation", "LoRA", "training step", "speed", "peak memory",
    ]  # fmt: skip
    assert "Qwen2_5_VLForConditionalGeneration, family qwen2_5_vl" in found["loaded"]
    assert found["parameters"] == f"{sum(parameter.numel() for parameter in vlm.model.parameters()):,}"
    assert found["weights"].endswith("float32, on cpu")
    assert found["decoder"].startswith("model.language_model.layers: 2 layers, ")
    assert found["prompt"].startswith("'<|im_start|>user\\n<|vision_start|><|image_pad|><|vision_end|>")
    adapters = sum(parameter.numel() for parameter in vlm.add_lora(2, 4))
    assert found["LoRA"] == f"{adapters:,} trainable parameters, rank 2 in 14 linear layers (decoder)"
    before, after = (float(found[step].split()[0]) for step in ("forward", "training step"))
    assert after < before
    assert re.fullmatch(
        r"[\d,]+ tokens/s forward, [\d,]+ in training; target and 2 oracles of 700 steps: [\d.]+ h", found["speed"]
    )


def test_the_weights_on_disk_are_left_alone(folder):
    before = (folder / "model.safetensors").read_bytes()
    assert main(["models", "check", str(folder), "--set", "model.lora_rank=2"]) == 0
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_missing_part_is_one_sentence_and_exit_code_2(folder, capsys):
    assert main(["models", "check", str(folder), "--set", "model.lora_rnk=2"]) == 2
    assert "model.lora_rnk: unknown option; did you mean 'lora_rank'" in capsys.readouterr().err
    (folder / "chat_template.jinja").unlink()
    assert main(["models", "check", str(folder)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"unsee: model {folder}: has no chat template; questions cannot be put to it\n"


def test_a_model_that_gives_no_numbers_is_an_error(folder, capsys):
    tensors = load_file(folder / "model.safetensors")
    (name,) = [name for name in tensors if name.endswith("model.norm.weight")]
    tensors[name].fill_(torch.nan)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert main(["models", "check", str(folder)]) == 2
    assert "not finite; its weights are damaged" in capsys.readouterr().err
