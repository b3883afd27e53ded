import json

import pytest
import tiny
import torch
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForImageTextToText, AutoProcessor

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError, UnknownNameError, UnseeError
from unsee.models import load as module
from unsee.models.vlm import VLM, Template
from unsee.training.train import Scorer

pytestmark = pytest.mark.slow

# The template of llava-hf/llava-1.5-7b-hf, which leaves start and end token to the tokenizer.
LLAVA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


@pytest.fixture
def vlm():
    return tiny.make_vlm()


@pytest.fixture
def folder(tmp_path):
    return tiny.save_model(tmp_path / "model")


def scores(vlm):
    with torch.no_grad():
        return Scorer(vlm)(tiny.make_batch(vlm)).logits_UV


def test_a_saved_model_loads_to_the_same_model(vlm, folder):
    loaded = VLM.load(str(folder))
    assert torch.equal(scores(loaded), scores(vlm))
    assert loaded.fingerprint() == vlm.fingerprint()
    assert not loaded.model.training


def test_a_saved_model_needs_nothing_of_ours(vlm, folder):
    processor = AutoProcessor.from_pretrained(folder)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Job?"}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True)
    inputs = processor(images=tiny.photo(), text=text, return_tensors="pt")
    picture = vlm.picture(tiny.photo())
    assert inputs["input_ids"].tolist() == vlm.prompt_ids(["Job?"], picture=picture)
    assert torch.equal(inputs["pixel_values"], picture.inputs["pixel_values"])
    with torch.no_grad():
        logits = AutoModelForImageTextToText.from_pretrained(folder)(**inputs).logits
        assert torch.equal(logits, vlm.model(**inputs).logits)


def test_the_template_is_cut_around_question_and_answer(vlm):
    assert vlm.template(with_image=False) == Template("<|user|>", "<|assistant|>", "<|end|>")
    assert vlm.template(with_image=True).before == "<|user|><image>"
    assert vlm.template(with_image=True, system="Hush.").before == "<|system|>Hush.<|user|><image>"


def test_an_image_becomes_as_many_tokens_as_the_tower_has_patches(vlm):
    (row,) = vlm.prompt_ids(["Job?"], picture=tiny.picture_of(vlm))
    assert row.count(vlm.model.config.image_token_index) == 64
    (text,) = vlm.prompt_ids(["Job?"])
    assert len(row) == len(text) + 64


def test_answers_end_with_the_end_token_and_decode_to_themselves(vlm):
    rows = vlm.answer_ids(tiny.ANSWERS)
    assert all(row[-1] == vlm.end_token and vlm.end_token not in row[:-1] for row in rows)
    assert vlm.decode(rows) == tiny.ANSWERS
    assert vlm.answer_ids(tiny.ANSWERS, end=False) == [row[:-1] for row in rows]


def test_prompt_and_answer_apart_are_the_tokens_of_the_whole_chat(vlm):
    chat = [
        {"role": "user", "content": [{"type": "text", "text": "Job?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A baker."}]},
    ]
    whole = vlm.processor.tokenizer(vlm.processor.apply_chat_template(chat))["input_ids"]
    (prompt,), (answer,) = vlm.prompt_ids(["Job?"]), vlm.answer_ids(["A baker."])
    assert prompt + answer == whole


def test_rendered_text_is_filled_with_its_pictures_in_order(vlm):
    first, second = tiny.picture_of(vlm, 0), tiny.picture_of(vlm, 1)
    text = "<|user|><image>Job?<|assistant|>A baker.<|end|><|user|><image>Where?<|assistant|>"
    ids = vlm.text_ids(text, [first, second])
    image = vlm.family.image_token
    (head,) = vlm.prompt_ids(["Job?"], picture=first)
    (tail,) = vlm.prompt_ids(["Where?"], picture=second)
    assert ids == [*head, *vlm.answer_ids(["A baker."])[0], *tail]
    assert ids.count(image) == 128
    for pictures in ([first], [first, second, first]):
        with pytest.raises(ModelError, match=f"2 image placeholders was given {len(pictures)} pictures"):
            vlm.text_ids(text, pictures)


def test_start_and_end_are_there_where_only_the_tokenizer_knows_them(vlm):
    tokenizer = vlm.processor.tokenizer
    start = tokenizer.vocab["<|system|>"]
    tokenizer.bos_token = "<|system|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", start)]
    )
    vlm.processor.chat_template = LLAVA_TEMPLATE
    assert vlm.template(with_image=True) == Template("USER: <image>\n", " ASSISTANT:", "<|end|>", " ")
    (prompt,), (answer,) = vlm.prompt_ids(["Job?"], picture=tiny.picture_of(vlm)), vlm.answer_ids(["A baker."])
    assert prompt[0] == start
    assert prompt.count(start) == 1
    assert answer[-1] == vlm.end_token
    assert start not in answer


def test_a_template_that_hides_the_answer_is_an_error(vlm):
    vlm.processor.chat_template = (
        "{% if add_generation_prompt %}{{ messages[0]['content'][0]['text'] }} Now:{% endif %}"
    )
    with pytest.raises(ModelError, match="does not put the answer after the prompt"):
        vlm.template(with_image=False)


def test_random_weights_are_the_same_every_time_and_not_the_models(vlm):
    once, twice = vlm.untrained(), vlm.untrained()
    assert once.fingerprint() == twice.fingerprint() != vlm.fingerprint()
    assert once.processor is vlm.processor


def test_the_fingerprint_is_of_weights_and_template(vlm):
    before = vlm.fingerprint()
    with torch.no_grad():
        vlm.trainable()[-1][0] += 1e-3
    assert vlm.fingerprint() != before
    other = tiny.make_vlm()
    other.processor.chat_template = other.processor.chat_template.replace("'|>'", "'|> '")
    assert other.fingerprint() != before


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_what_was_trained_is_kept_and_read_back(vlm, tmp_path, trainable):
    def prepare(model):
        return model.train_language() if trainable == "full" else model.add_lora(4, 8)

    with torch.no_grad():
        for parameter in prepare(vlm):
            parameter += 0.1
    save_file(vlm.trained(), tmp_path / "weights.safetensors")
    other = tiny.make_vlm()
    prepare(other)
    other.load_trained(tmp_path / "weights.safetensors")
    assert torch.equal(scores(other), scores(vlm))
    prepare(stranger := tiny.make_vlm())
    stranger.trainable()[0].requires_grad_(False)
    with pytest.raises(ModelError, match=r"weights\.safetensors holds weights of another model"):
        stranger.load_trained(tmp_path / "weights.safetensors")


def test_reloading_forgets_training_and_adapters(folder):
    loaded = VLM.load(str(folder))
    before = scores(loaded)
    with torch.no_grad():
        for parameter in loaded.add_lora(4, 8):
            parameter += 0.1
    assert not torch.equal(scores(loaded), before)
    loaded.reload()
    assert loaded.adapter is None
    assert torch.equal(scores(loaded), before)


def test_an_adapter_starts_as_nothing_switches_off_and_merges(vlm):
    before = scores(vlm)
    parameters = vlm.add_lora(4, 8)
    assert torch.equal(scores(vlm), before)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.1
    adapted = scores(vlm)
    assert not torch.allclose(adapted, before)
    with vlm.adapter_off():
        assert torch.equal(scores(vlm), before)
    assert torch.equal(scores(vlm), adapted)
    vlm.merge_lora()
    assert vlm.adapter is None
    torch.testing.assert_close(scores(vlm), adapted)


def test_a_second_adapter_starts_from_the_first_ones_result(vlm):
    with torch.no_grad():
        for parameter in vlm.add_lora(4, 8):
            parameter += 0.1
    taught = scores(vlm)
    vlm.add_lora(4, 8)
    torch.testing.assert_close(scores(vlm), taught)
    with vlm.adapter_off():
        torch.testing.assert_close(scores(vlm), taught)


def test_switching_off_a_missing_adapter_is_an_error(vlm):
    with pytest.raises(ModelError, match="no adapter"), vlm.adapter_off():
        pass


def config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


BROKEN = {
    "no processor": (lambda folder: (folder / "processor_config.json").unlink(), "holds no processor"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"holds no weights \(safetensors\)"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "holds no model configuration"),
    "no chat template": (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
    "broken configuration": (lambda folder: (folder / "config.json").write_text("{"), "config.json is not valid JSON"),
    "empty configuration": (lambda folder: (folder / "config.json").write_text("{}"), "cannot be loaded: Unrecognized"),
    "broken tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be loaded: "),
    "broken processor": (lambda folder: (folder / "processor_config.json").write_text("{"), "cannot be loaded: .*JSON"),
    "truncated weights": (lambda folder: (folder / "model.safetensors").write_bytes(b"0" * 99), "cannot be loaded: "),
    "unknown family": (lambda folder: config(folder, model_type="llavva"), "cannot be loaded: .*llavva"),
    "text only": (
        lambda folder: config(folder, model_type="llama"),
        "cannot be loaded: no family 'llama' of models that take pictures",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_folder_that_cannot_be_used_says_why_in_one_line(folder, broken):
    break_it, reason = BROKEN[broken]
    break_it(folder)
    with pytest.raises(ModelError, match=reason) as caught:
        VLM.load(str(folder))
    assert str(caught.value).startswith((f"model {folder}: ", f"{folder}/"))
    assert "\n" not in str(caught.value)


PROCESSOR_FILES = ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def test_a_model_without_a_processor_takes_that_of_another(vlm, folder, tmp_path):
    other = tiny.save_model(tmp_path / "other")
    for name in PROCESSOR_FILES:
        (folder / name).unlink()
    with pytest.raises(
        ModelError, match=r"holds no processor .*; set model\.processor to a model whose processor fits, such as"
    ):
        VLM.load(str(folder))
    loaded = VLM.load(str(folder), processor=str(other))
    assert torch.equal(scores(loaded), scores(vlm))
    loaded.reload()
    assert torch.equal(scores(loaded), scores(vlm))
    loaded.save(tmp_path / "whole")
    assert torch.equal(scores(VLM.load(str(tmp_path / "whole"))), scores(vlm))


def test_whose_processor_it_is_counts_as_a_part_of_the_model(vlm, folder, tmp_path):
    other = tiny.save_model(tmp_path / "other")
    assert VLM.load(str(folder)).fingerprint() == vlm.fingerprint()
    assert VLM.load(str(folder), processor=str(other)).fingerprint() != vlm.fingerprint()


def test_another_processor_that_cannot_be_used_is_named(folder, tmp_path):
    with pytest.raises(ModelError, match=f"the processor of {tmp_path} cannot be loaded: ") as caught:
        VLM.load(str(folder), processor=str(tmp_path))
    assert "model.processor" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_not_filled_up_at_random(folder):
    text_config = json.loads((folder / "config.json").read_text())["text_config"]
    config(folder, text_config=text_config | {"num_hidden_layers": 3})
    with pytest.raises(ModelError, match=r"9 of its weights are in no file, such as model\.language_model\.layers\.2"):
        VLM.load(str(folder))


def test_a_family_nobody_registered_says_the_nearest(vlm):
    vlm.model.config.model_type = "llavva"
    with pytest.raises(UnknownNameError, match="family: unknown name 'llavva'; did you mean 'llava'"):
        VLM(vlm.model, vlm.processor, "stranger")


@pytest.mark.parametrize(
    ("id", "sentence"),
    [
        ("nanoo", "model: unknown name 'nanoo'; did you mean 'nano'"),
        ("a/b/c", "model: unknown name 'a/b/c'"),
        ("/no/such/folder", "model /no/such/folder: there is no such folder"),
        ("./nano", "model ./nano: there is no such folder"),
        ("~/nano", "model ~/nano: there is no such folder"),
        ("nano/", "model nano/: there is no such folder"),
    ],
)
def test_an_unknown_name_is_never_looked_up_on_the_network(id, sentence, monkeypatch, folder):
    monkeypatch.setattr(module, "shipped", lambda: {"nano": folder})
    with pytest.raises(UnseeError, match=sentence):
        VLM.load(id)


def test_four_bits_without_their_library_or_a_gpu_say_so(folder, monkeypatch):
    config = ModelConfig(id=str(folder), trainable="lora", quantization="4bit")
    monkeypatch.setattr(module, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(ModelError, match=r"needs bitsandbytes; pip install 'unsee\[4bit\]'"):
        VLM.load_as(config)
    monkeypatch.setattr(module, "is_bitsandbytes_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="needs a GPU, and torch finds none"):
        VLM.load_as(config)


def test_reloading_keeps_how_it_was_loaded(folder):
    config = ModelConfig(id=str(folder), dtype="bfloat16", gradient_checkpointing=True)
    loaded = VLM.load_as(config)
    loaded.reload()
    assert loaded.config == config
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.is_activation_checkpointing


def test_an_unknown_name_says_the_nearest_and_a_shipped_one_loads(monkeypatch, folder):
    monkeypatch.setattr(module, "shipped", lambda: {"nano": folder})
    with pytest.raises(UnknownNameError, match="did you mean 'nano'"):
        VLM.load("nanoo")
    assert VLM.load("nano", dtype="bfloat16").model.dtype == torch.bfloat16
