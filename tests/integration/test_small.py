"""`small` is made as anybody makes it; `make soak` installs the packages that it needs."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

from unsee.cli import main
from unsee.forward.generate import Group, generate
from unsee.models.vlm import VLM
from unsee.nano import small

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "model"
    assert main(["models", "make-small", "--out", str(out)]) == 0
    return out


def test_the_folder_is_a_llava_for_everybody(folder):
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert processor.chat_template == small.CHAT_TEMPLATE
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert str(Path.home()) not in (folder / "config.json").read_text()
    assert (folder / "README.md").read_text() == (small.PARTS / small.CARD).read_text()


def test_it_knows_the_world(folder):
    vlm = VLM.load(str(folder))
    prompts = vlm.prompt_ids(["What is the capital of France?"])
    ((answer,),) = generate(vlm, [Group.of(prompts)], max_new_tokens=12)
    assert "Paris" in vlm.decode([answer])[0]
