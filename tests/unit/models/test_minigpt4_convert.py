import os

import pytest
import tiny
import tiny_minigpt4 as published
import torch
from torch.nn.functional import layer_norm, linear
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from unsee.cli import main
from unsee.core.errors import ModelError, RecordError
from unsee.models.minigpt4_convert import Checkpoint, convert
from unsee.models.minigpt4_model import MiniGPT4ForConditionalGeneration
from unsee.models.minigpt4_processor import MiniGPT4ImageProcessor, MiniGPT4Processor
from unsee.models.vlm import VLM

PIXELS = torch.linspace(-2, 2, 2 * 3 * 64 * 64).view(2, 3, 64, 64).sin()


@pytest.fixture(scope="module", params=[False, True], ids=["joined patches", "Q-Former"])
def converted(request, tmp_path_factory):
    files, out = published.convert_published(tmp_path_factory.mktemp("minigpt4"), q_former=request.param)
    return files, VLM.load(str(out))


@pytest.fixture
def files(tmp_path):
    return published.write_published(tmp_path / "published")


def run(files, out, **changed):
    convert(**{**files, **changed}, out=out, vision_config=published.VISION, qformer_config=published.Q_FORMER)


def image_tokens(files):
    """What the published code makes of the pixels, from the published files."""
    features = published.see(Checkpoint.read(files["vit"]).tensors, PIXELS)
    projection = Checkpoint.read(files["checkpoint"]).tensors
    if "q_former" in files:
        tensors = Checkpoint.read(files["q_former"]).tensors
        normed = layer_norm(features, (published.WIDTH,), tensors["ln_vision.weight"], tensors["ln_vision.bias"], 1e-5)
        tokens = published.ask_queries(tensors, normed)
    else:
        patches = layer_norm(features, (published.WIDTH,), eps=1e-5)[:, 1:]
        tokens = torch.stack([torch.cat([*image[i : i + 4]]) for image in patches for i in range(0, 64, 4)])
        tokens = tokens.view(len(PIXELS), 16, -1)
    return features, linear(tokens, projection["llama_proj.weight"], projection["llama_proj.bias"])


@torch.no_grad()
def test_the_tower_gives_the_features_of_the_published_one(converted):
    files, vlm = converted
    tower = vlm.model.model.vision_tower.vision_model
    before_norm = []
    tower.encoder.register_forward_hook(lambda module, taken, given: before_norm.append(given.last_hidden_state))
    tower(PIXELS)
    torch.testing.assert_close(before_norm[0], image_tokens(files)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_image_tokens_are_those_of_the_published_code(converted):
    files, vlm = converted
    ours = vlm.model.get_image_features(PIXELS).pooler_output
    torch.testing.assert_close(ours, image_tokens(files)[1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_logits_are_those_of_the_decoder_around_the_image_tokens(converted):
    files, vlm = converted
    picture = tiny.picture_of(vlm)
    (prompt,) = vlm.prompt_ids(["Job?"], picture=picture)
    ids = torch.tensor(prompt)
    llama = AutoModelForCausalLM.from_pretrained(files["language_model"])
    embeds = llama.get_input_embeddings()(ids.clamp(max=llama.config.vocab_size - 1))
    embeds[ids == vlm.family.image_token] = vlm.model.get_image_features(picture.inputs["pixel_values"]).pooler_output[
        0
    ]
    ours = vlm.model(input_ids=ids[None], **picture.inputs).logits
    torch.testing.assert_close(ours, llama(inputs_embeds=embeds[None]).logits)


def test_the_decoder_is_byte_for_byte_the_one_it_was_given(converted):
    files, vlm = converted
    theirs = AutoModelForCausalLM.from_pretrained(files["language_model"]).state_dict()
    ours = vlm.model.state_dict()
    assert all(torch.equal(ours[k.replace("model.", "model.language_model.", 1)], v) for k, v in theirs.items())


def test_answers_end_as_each_decoder_was_taught(converted):
    files, vlm = converted
    mark = "###" if "q_former" in files else "</s>"
    ends = vlm.processor.tokenizer.convert_ids_to_tokens(vlm.model.generation_config.eos_token_id)
    assert vlm.template(with_image=True).after == mark
    assert ("##" in ends) == ("q_former" in files)
    first = vlm.answer_ids(["A baker."])[0][len(vlm.answer_ids(["A baker."], end=False)[0])]
    assert first in vlm.end_tokens


BROKEN = {
    "blocks.1.mlp.fc1.bias": ("blocks.1.mlp.fc1.biass", r"has no 'blocks\.1\.mlp\.fc1\.bias'; .* 'blocks\.1\.mlp\.fc1"),
    "blocks.0.attn.q_bias": ("q", r"has no 'blocks\.0\.attn\.q_bias'; the nearest of its names is 'blocks\.\d\.attn\."),
    "cls_token": (None, r"'cls_token' is 7; this model needs 1 x 1 x 32"),
}


@pytest.mark.parametrize("key", BROKEN)
def test_a_file_without_a_tensor_says_which_and_the_nearest_and_writes_nothing(files, tmp_path, key):
    renamed, reason = BROKEN[key]
    tensors = torch.load(files["vit"])
    tensors[renamed or key] = tensors.pop(key) if renamed else torch.zeros(7)
    torch.save(tensors, files["vit"])
    with pytest.raises(ModelError, match=reason) as caught:
        run(files, tmp_path / "out")
    assert str(caught.value).startswith(f"checkpoint {files['vit']}: ")
    assert not (tmp_path / "out").exists()


def test_a_projection_of_another_size_says_both(files, tmp_path):
    torch.save({"model": published.projection_tensors(60)}, files["checkpoint"])
    with pytest.raises(ModelError, match=r"'llama_proj\.weight' is 48 x 60; this model needs 48 x 128"):
        run(files, tmp_path / "out")


def test_a_projection_of_the_other_variant_says_what_to_do(files, tmp_path):
    torch.save(published.q_former_tensors(), tmp_path / "blip2.pth")
    with pytest.raises(ModelError, match="reads joined patches; leave --q-former out"):
        run(files, tmp_path / "out", q_former=tmp_path / "blip2.pth")
    torch.save({"model": published.projection_tensors(768)}, files["checkpoint"])
    with pytest.raises(ModelError, match="reads a Q-Former; add --q-former"):
        run(files, tmp_path / "out")


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_is_not_run(files, tmp_path):
    torch.save({"model": Harm(tmp_path / "harm")}, files["checkpoint"])
    with pytest.raises(ModelError, match="holds more than tensors"):
        run(files, tmp_path / "out")
    assert not (tmp_path / "harm").exists()


UNREADABLE = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "not a checkpoint": (lambda path: path.write_bytes(b"GIF89a" * 20), "holds more than tensors|cannot be read"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:500]), "cannot be read: |holds more than tensors"),
    "no tensors": (lambda path: torch.save({"model": {"epoch": 3}}, path), "holds no tensors by name"),
}


@pytest.mark.parametrize("way", UNREADABLE)
def test_a_file_that_cannot_be_read_says_why_in_one_line(files, tmp_path, way):
    spoil, reason = UNREADABLE[way]
    spoil(files["vit"])
    with pytest.raises(ModelError, match=reason) as caught:
        run(files, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_decoder_that_is_no_llama_or_not_whole_is_refused(files, tmp_path):
    with pytest.raises(ModelError, match=r"language model .*nowhere: no such folder"):
        run(files, tmp_path / "out", language_model=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"language model .*empty: cannot be loaded: "):
        run(files, tmp_path / "out", language_model=tmp_path / "empty")
    config = LlamaConfig.from_pretrained(files["language_model"])
    shallow = LlamaForCausalLM(config)
    del shallow.model.layers[1]
    shallow.save_pretrained(files["language_model"])
    config.save_pretrained(files["language_model"])
    with pytest.raises(ModelError, match=r"9 of its weights are in no file, such as model\.layers\.1\."):
        run(files, tmp_path / "out")
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    MistralForCausalLM(MistralConfig(vocab_size=99, **sizes)).save_pretrained(files["language_model"])
    with pytest.raises(ModelError, match="is of the family 'mistral', not 'llama'"):
        run(files, tmp_path / "out")


def test_a_folder_in_use_is_left_alone(files, tmp_path):
    with pytest.raises(RecordError, match=r"published: already exists and is not empty"):
        run(files, tmp_path / "published")


def test_the_command_prints_the_folder_or_one_sentence(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unsee.models.minigpt4_convert.Blip2VisionConfig", lambda: published.VISION)
    words = ["models", "convert-minigpt4", "--vit", files["vit"], "--checkpoint", files["checkpoint"]]
    words += ["--language-model", files["language_model"], "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err.startswith(f"unsee: {tmp_path / 'out'}: already exists and is not empty")


def test_a_converted_folder_holds_the_classes_by_name_and_no_code(tmp_path):
    _, out = published.convert_published(tmp_path)
    processor = AutoProcessor.from_pretrained(out)
    assert isinstance(AutoModelForImageTextToText.from_pretrained(out), MiniGPT4ForConditionalGeneration)
    assert isinstance(processor, MiniGPT4Processor)
    assert isinstance(processor.image_processor, MiniGPT4ImageProcessor)
    assert not list(out.glob("*.py"))
    assert str(tmp_path) not in (out / "config.json").read_text()
