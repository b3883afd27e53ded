"""Stage two, parts: the tokenizer, the processor, and an untrained LLaVA or MiniGPT-4 around the vision tower."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Blip2VisionModel,
    CLIPImageProcessorPil,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from unsee.models.minigpt4_model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from unsee.models.minigpt4_processor import MiniGPT4Processor
from unsee.nano.vision import CHANNEL_MEAN, CHANNEL_STD, CROP_PIXELS, RESIZE_PIXELS

VOCABULARY = 2048
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer of 2,048 tokens, among them the special tokens of the chat template."""
    tokenizer = Tokenizer(models.BPE())
    # one token per digit: the model reads a number off a picture digit by digit
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=special[2:5],
        extra_special_tokens={"image_token": "<image>"},
        model_max_length=4096,
    )


def make_processor(tokenizer: PreTrainedTokenizerBase, chat_template: str = CHAT_TEMPLATE) -> LlavaProcessor:
    """Return a LLaVA processor: resize to 72 pixels, crop the central 64, 64 tokens per image."""
    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template,
        image_token="<image>",
    )


def make_minigpt4_processor(tokenizer: PreTrainedTokenizerFast) -> MiniGPT4Processor:
    """Return a MiniGPT-4 processor: the same pictures and chat template as LLaVA's here, 16 tokens per image."""
    return MiniGPT4Processor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        num_image_tokens=16,
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
    )


def make_llava(
    tower: CLIPVisionModel, tokenizer: PreTrainedTokenizerFast, *, width: int = 192, layers: int = 4, seed: int = 0
) -> LlavaForConditionalGeneration:
    """Return a LLaVA with the given vision tower, and a projector and a decoder of random weights."""
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=_decoder_config(tokenizer, width, layers),
        image_token_index=tokenizer.vocab["<image>"],
        image_seq_length=64,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    _start(model, tokenizer, width)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    return model


def make_minigpt4(
    tower: Blip2VisionModel, tokenizer: PreTrainedTokenizerFast, *, width: int = 192, layers: int = 4, seed: int = 0
) -> MiniGPT4ForConditionalGeneration:
    """Return a MiniGPT-4 without Q-Former: the given vision tower, random weights in projection and decoder."""
    torch.manual_seed(seed)
    config = MiniGPT4Config(
        vision_config=tower.config,
        text_config=_decoder_config(tokenizer, width, layers),
        image_token_id=tokenizer.vocab["<image>"],
        tie_word_embeddings=True,
    )
    model = MiniGPT4ForConditionalGeneration(config)
    _start(model, tokenizer, width)
    model.model.vision_tower.vision_model.load_state_dict(tower.state_dict())
    return model


def image_processor() -> CLIPImageProcessorPil:
    """Return the image processor of all models here: resize to 72 pixels, crop the central 64."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": RESIZE_PIXELS},
        crop_size={"height": CROP_PIXELS, "width": CROP_PIXELS},
        image_mean=[CHANNEL_MEAN] * 3,
        image_std=[CHANNEL_STD] * 3,
    )


def _decoder_config(tokenizer: PreTrainedTokenizerFast, width: int, layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _start(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, width: int) -> None:
    """Draw all weights and set the tokens that end and pad answers. The caller loads the tower's weights afterwards."""
    for parameter in model.parameters():  # transformers' 0.02 suits widths in the thousands; here it stalls learning
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, 0.0, width**-0.5)
    model.config.vision_config._name_or_path = ""  # do not publish a local path
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
