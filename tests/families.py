"""A model of every family, small enough for a test: real classes of transformers, one or two layers, random weights.

Tokenizers are trained on the questions and answers of `tiny` and are of the kind that the family's own are; chat
templates write what those on the hub write, line breaks and spaces included.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import tiny
import torch
import transformers as hf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.smolvlm import processing_smolvlm

from unsee.models.minigpt4_model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from unsee.models.minigpt4_processor import LLAMA2, MiniGPT4ImageProcessor, MiniGPT4Processor, llama_tokenizer
from unsee.models.processor import without_video
from unsee.models.vlm import VLM

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% for part in message['content'] %}"
    "{{ IMAGE if part['type'] == 'image' else part['text'] }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "llava": (
        "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}"
        "{% endif %}{% for part in message['content'] %}{{ '<image>\n' if part['type'] == 'image' else "
        "part['text'] + ' ' }}{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "idefics": (
        "START{% for message in messages %}{{ message['role'].capitalize() }}"
        "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}{% for part in message['content'] %}"
        "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{{ '<end_of_utterance>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant'"
        " else 'user') + '\n' }}{% for part in message['content'] %}{{ '<start_of_image>' if part['type'] == 'image' "
        "else part['text'] | trim }}{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "qwen": CHATML.replace("IMAGE", "'<|vision_start|><|image_pad|><|vision_end|>'"),
    "onevision": CHATML.replace("IMAGE", "'<image>\n'"),
    "internvl": CHATML.replace("IMAGE", "'<IMG_CONTEXT>\n'"),
}
TEMPLATES["idefics2"] = TEMPLATES["idefics"].replace("START", "")
TEMPLATES["smolvlm"] = TEMPLATES["idefics"].replace("START", "<|im_start|>")
TEXT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT |= {"num_key_value_heads": 2, "max_position_embeddings": 4096}
SIGHT = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "patch_size": 8}

# Its processor counts the frames of videos in words, and nothing here is a video.
processing_smolvlm.num2words = processing_smolvlm.num2words or str


def byte_tokenizer(*special: str, **named: str) -> hf.PreTrainedTokenizerBase:
    """As of Qwen2, SmolLM and InternVL."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found = _train(trained, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False))
    return _named(hf.Qwen2Tokenizer(**found, eos_token="<|im_end|>", pad_token="<|endoftext|>"), special, named)


def sentence_tokenizer(*special: str, **named: str) -> hf.PreTrainedTokenizerBase:
    """As of Llama and Mistral: a word holds the space before it, and the first one gets one."""
    return _named(hf.LlamaTokenizer(**_pieces("<unk>", "<s>", "</s>"), add_bos_token=True), special, named)


def gemma_tokenizer(*special: str, **named: str) -> hf.PreTrainedTokenizerBase:
    """As of Gemma: several line breaks are one token."""
    found = _pieces("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    for length in (2, 3, 4):
        found["vocab"]["\n" * length] = len(found["vocab"])
        found["merges"].append(("\n" * (length - 1), "\n"))
    return _named(hf.GemmaTokenizer(**found), special, named)


def _pieces(*special: str) -> dict:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    found = _train(trained, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "\n", *found["vocab"]]
    return {"vocab": {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}, "merges": found["merges"]}


def _train(tokenizer: Tokenizer, trainer: trainers.BpeTrainer) -> dict:
    tokenizer.train_from_iterator([*tiny.QUESTIONS, *tiny.ANSWERS, tiny.SYSTEM, "USER: ASSISTANT: User: x"], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def _named(tokenizer, special: Sequence[str], named: dict[str, str]):
    tokenizer.add_special_tokens({"additional_special_tokens": [*special, *named.values()]})
    if named:
        tokenizer._set_model_specific_special_tokens(named)
    return tokenizer


def make_llava() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    tokenizer = sentence_tokenizer("<image>", "<pad>")
    tokenizer.pad_token = "<pad>"
    size = {"height": 32, "width": 32}
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size), tokenizer, patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=TEMPLATES["llava"],
    )  # fmt: skip
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**SIGHT, image_size=32, num_hidden_layers=3),
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(tokenizer)),
        image_token_index=processor.image_token_id,
        image_seq_length=16,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def make_llava_onevision() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    tokenizer = byte_tokenizer("<|im_start|>", "<image>", "<video>")
    pinpoints = [[32, 32], [32, 64], [64, 32], [64, 64]]
    processor = without_video(hf.LlavaOnevisionProcessor)(
        hf.LlavaOnevisionImageProcessorPil(size={"height": 32, "width": 32}, image_grid_pinpoints=pinpoints),
        tokenizer, None, num_image_tokens=16, vision_feature_select_strategy="full",
        chat_template=TEMPLATES["onevision"],
    )  # fmt: skip
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(
            **SIGHT, image_size=32, num_hidden_layers=2, vision_use_head=False
        ),
        text_config=hf.Qwen2Config(**TEXT, vocab_size=len(tokenizer)),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def make_idefics2() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    processor = hf.Idefics2Processor(
        hf.Idefics2ImageProcessorPil(size={"longest_edge": 64, "shortest_edge": 32}, do_image_splitting=True),
        sentence_tokenizer("<pad>"), image_seq_len=4, chat_template=TEMPLATES["idefics2"],
    )  # fmt: skip
    processor.tokenizer.pad_token = "<pad>"
    config = hf.Idefics2Config(
        vision_config={**SIGHT, "image_size": 64, "num_hidden_layers": 1},
        perceiver_config={
            "hidden_size": 48, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 4,
            "resampler_head_dim": 12, "num_key_value_heads": 2,
        },
        text_config=hf.MistralConfig(**TEXT, vocab_size=len(processor.tokenizer), head_dim=12, sliding_window=None),
        image_token_id=processor.image_token_id,
    )  # fmt: skip
    return hf.Idefics2ForConditionalGeneration(config), processor


def make_idefics3() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    processor = hf.Idefics3Processor(
        hf.Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        byte_tokenizer("<|im_start|>", "<image>", "<fake_token_around_image>", "<end_of_utterance>", *_tiles()),
        image_seq_len=4, chat_template=TEMPLATES["smolvlm"],
    )  # fmt: skip
    return hf.Idefics3ForConditionalGeneration(_smol_config(hf.Idefics3Config, processor)), processor


def make_smolvlm() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    processor = without_video(hf.SmolVLMProcessor)(
        hf.SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        byte_tokenizer("<|im_start|>", "<image>", "<fake_token_around_image>", "<end_of_utterance>", *_tiles()),
        None, image_seq_len=4, chat_template=TEMPLATES["smolvlm"],
    )  # fmt: skip
    return hf.SmolVLMForConditionalGeneration(_smol_config(hf.SmolVLMConfig, processor)), processor


def _tiles() -> list[str]:
    return ["<global-img>", *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))]


def _smol_config(make: Callable, processor: hf.ProcessorMixin) -> hf.PreTrainedConfig:
    return make(
        vision_config={**SIGHT, "image_size": 32, "num_hidden_layers": 1},
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(processor.tokenizer)),
        image_token_id=processor.image_token_id,
        scale_factor=2,
    )


def _qwen_parts() -> tuple:
    parts = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = byte_tokenizer("<|im_start|>", *parts)
    images = hf.Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=32 * 32, max_pixels=64 * 96)
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return tokenizer, images, dict(zip(names, tokenizer.convert_tokens_to_ids(list(parts)), strict=True))


def make_qwen2_5_vl() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    tokenizer, images, tokens = _qwen_parts()
    processor = without_video(hf.Qwen2_5_VLProcessor)(images, tokenizer, None, chat_template=TEMPLATES["qwen"])
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 48, "window_size": 32, "fullatt_block_indexes": [1]}
    rope = {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope}
    config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **tokens)
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def make_qwen3_vl() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    tokenizer, images, tokens = _qwen_parts()
    processor = without_video(hf.Qwen3VLProcessor)(images, tokenizer, None, chat_template=TEMPLATES["qwen"])
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 48, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    rope = {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}
    text = {**TEXT, "vocab_size": len(tokenizer), "head_dim": 12, "rope_parameters": rope}
    config = hf.Qwen3VLConfig(vision_config=vision, text_config=text, **tokens)
    return hf.Qwen3VLForConditionalGeneration(config), processor


def make_internvl() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = byte_tokenizer("<|im_start|>", **named, video_token="<video>")
    processor = without_video(hf.InternVLProcessor)(
        hf.GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, max_patches=4, crop_to_patches=True),
        tokenizer, None, image_seq_length=4, chat_template=TEMPLATES["internvl"],
    )  # fmt: skip
    config = hf.InternVLConfig(
        vision_config={**SIGHT, "patch_size": [8, 8], "image_size": [32, 32], "num_hidden_layers": 1},
        text_config=hf.Qwen2Config(**TEXT, vocab_size=len(tokenizer)),
        image_token_id=processor.image_token_id,
        image_seq_length=4,
    )
    return hf.InternVLForConditionalGeneration(config), processor


def make_gemma3() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = gemma_tokenizer("<start_of_turn>", "<end_of_turn>", **named)
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessorPil(size={"height": 32, "width": 32}), tokenizer, image_seq_length=4,
        chat_template=TEMPLATES["gemma"],
    )  # fmt: skip
    text = TEXT | {"vocab_size": len(tokenizer), "head_dim": 12, "sliding_window": 8}
    config = hf.Gemma3Config(
        text_config={**text, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config={**SIGHT, "image_size": 32, "num_hidden_layers": 1},
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    return model, processor


def make_minigpt4() -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    tokenizer = llama_tokenizer(sentence_tokenizer(), LLAMA2.answer_mark)
    config = MiniGPT4Config(
        vision_config=hf.Blip2VisionConfig(**SIGHT, image_size=32, num_hidden_layers=2),
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(tokenizer)),
        image_token_id=tokenizer.image_token_id,
    )
    processor = MiniGPT4Processor(
        MiniGPT4ImageProcessor(size={"height": 32, "width": 32}), tokenizer,
        num_image_tokens=config.num_image_tokens, chat_template=LLAMA2.template,
    )  # fmt: skip
    return MiniGPT4ForConditionalGeneration(config), processor


MAKE = {name.removeprefix("make_"): make for name, make in globals().items() if name.startswith("make_")}


def make_vlm(family: str) -> VLM:
    """A fresh tiny model of a family; always the same."""
    return copy.deepcopy(_built(family))


def save_model(family: str, folder: Path) -> Path:
    """A folder in the hub's format."""
    make_vlm(family).save(folder)
    return folder


@cache
def _built(family: str) -> VLM:
    torch.manual_seed(0)
    model, processor = MAKE[family]()
    for parameter in model.parameters():  # as in the nano: what a model of this width needs to tell tokens apart
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, 0.0, parameter.shape[-1] ** -0.5)
    vlm = VLM(model.eval(), processor, family)
    model.generation_config.eos_token_id = vlm.end_tokens
    return vlm


def conversation(
    vlm: VLM, question: str, answer: str | None = None, images: Sequence = (), system: str = ""
) -> dict[str, torch.Tensor]:
    """One chat as transformers alone renders and tokenises it, ready for the model."""
    asked = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": question}]
    told = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    chat = [*told, {"role": "user", "content": asked}]
    if answer is not None:
        chat.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    made = vlm.processor.apply_chat_template(
        chat, add_generation_prompt=answer is None, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return dict(made)
