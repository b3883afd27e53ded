import numpy as np
import pytest
import tiny
import tiny_minigpt4 as published
import torch
from PIL import Image
from tokenizers import Tokenizer

from unsee.core.errors import ModelError
from unsee.models.minigpt4_processor import IMAGE_SYSTEM, MiniGPT4ImageProcessor, llama_tokenizer
from unsee.models.vlm import VLM
from unsee.nano.language import train_tokenizer

QUESTION = "What did this person study?"


@pytest.fixture(scope="module", params=[False, True], ids=["Llama-2", "Vicuna"])
def vlm(request, tmp_path_factory):
    return VLM.load(str(published.convert_published(tmp_path_factory.mktemp("m"), q_former=request.param)[1]))


def vicuna(vlm):
    return vlm.model.config.qformer_config is not None


def piece(text):
    """One piece of a prompt as sentencepiece writes it: a space before it, every space as the mark."""
    return Tokenizer(published.llama_like_tokenizer().backend_tokenizer.model).encode("▁" + text.replace(" ", "▁")).ids


def published_prompt(vlm, question):
    """The published code: cut at start token and images, each piece to the tokenizer alone."""
    start, image = [1], [vlm.family.image_token] * vlm.model.config.num_image_tokens
    if vicuna(vlm):
        before = start + piece(f"{IMAGE_SYSTEM}###Human: <Img>")
        return before + image + piece(f"</Img> {question}###Assistant: ")
    before = start + piece(IMAGE_SYSTEM) + start + piece("[INST] <Img>")
    return before + image + piece(f"</Img> {question} [/INST] ")


def test_a_prompt_has_the_tokens_of_the_published_code(vlm):
    assert vlm.prompt_ids([QUESTION], picture=tiny.picture_of(vlm)) == [published_prompt(vlm, QUESTION)]


def test_an_answer_has_the_tokens_it_was_taught_with(vlm):
    (answer,) = vlm.answer_ids(["A baker."])
    assert answer == (piece("A baker.###") if vicuna(vlm) else [*piece("A baker."), vlm.end_token])
    assert vlm.decode(vlm.answer_ids(["A baker."], end=False)) == ["A baker."]


def test_the_whole_conversation_has_the_tokens_of_its_pieces(vlm):
    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    chat = [asked, {"role": "assistant", "content": "A baker."}]
    made = vlm.processor(images=tiny.photo(), text=vlm.processor.apply_chat_template(chat), return_tensors="pt")
    answer = piece("A baker.###") if vicuna(vlm) else [*piece("A baker."), vlm.end_token]
    assert made["input_ids"].tolist() == [published_prompt(vlm, QUESTION) + answer]


def test_every_token_says_where_in_the_text_it_is(vlm):
    template = vlm.template(with_image=True)
    text = template.before + QUESTION + template.between + "A baker."
    made = vlm.processor.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    for word in ("person", "study", "baker"):
        start = text.index(word)
        found = [
            token for token, (a, b) in zip(made["input_ids"], made["offset_mapping"], strict=True) if a <= start < b
        ]
        assert word in vlm.processor.tokenizer.decode(found)


def test_transformers_alone_writes_the_same_prompt(vlm):
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    text = vlm.processor.apply_chat_template([turn], add_generation_prompt=True)
    made = vlm.processor(images=tiny.photo(), text=text, return_tensors="pt")
    assert made["input_ids"].tolist() == [published_prompt(vlm, QUESTION)]
    assert torch.equal(made["pixel_values"], tiny.picture_of(vlm).inputs["pixel_values"])


def test_a_further_turn_is_written_as_the_decoder_expects(vlm):
    turns = [("user", "Job?"), ("assistant", "A baker."), ("user", "Where?")]
    chat = [{"role": role, "content": text} for role, text in turns]
    written = vlm.processor.apply_chat_template(chat, add_generation_prompt=True)
    if vicuna(vlm):
        assert written == "<s>###Human: Job?###Assistant: A baker.###Human: Where?###Assistant: "
    else:
        assert written == "<s>[INST] Job? [/INST] A baker.</s><s>[INST] Where? [/INST] "


def test_a_system_message_takes_the_place_of_the_published_one(vlm):
    before = vlm.template(with_image=True, system="Hush.").before
    assert before.startswith("<s>Hush.")
    assert IMAGE_SYSTEM not in before


def test_a_tokenizer_that_is_not_sentencepiece_is_refused():
    with pytest.raises(ModelError, match="not Llama's"):
        llama_tokenizer(train_tokenizer(tiny.QUESTIONS), "[/INST] ")


def test_a_whole_picture_is_resized_then_normalised():
    photo = tiny.photo().resize((90, 30))
    values = np.asarray(photo.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = torch.tensor((values - mean) / std, dtype=torch.float32).permute(2, 0, 1)
    torch.testing.assert_close(
        MiniGPT4ImageProcessor()(photo, return_tensors="pt")["pixel_values"][0], expected, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_a_picture_becomes_rgb_after_it_is_resized(mode):
    photo = tiny.photo().convert(mode)
    if mode == "RGBA":
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    processor = MiniGPT4ImageProcessor()
    first = processor(photo.resize((224, 224), Image.Resampling.BICUBIC).convert("RGB"), return_tensors="pt")
    assert torch.equal(processor(photo, return_tensors="pt")["pixel_values"], first["pixel_values"])
    if mode != "L":
        last = processor(photo.convert("RGB"), return_tensors="pt")
        assert not torch.equal(processor(photo, return_tensors="pt")["pixel_values"], last["pixel_values"])
