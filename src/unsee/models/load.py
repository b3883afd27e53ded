"""Loads the weights and the processor of a model; an adapter is merged into the model that it was trained on."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils.import_utils import is_bitsandbytes_available

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError, UnknownNameError, UnseeError, did_you_mean
from unsee.models import MODELS, shipped
from unsee.models.adapter import chain, cure, merge_into
from unsee.models.load_errors import PROCESSOR_ADVICE, check_folder, check_hub, check_size, holds_processor, loading
from unsee.models.processor import load_processor

MADE = "small"
"""The model that a command makes, and recipes name by the folder it is made in."""
_DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}


def load_weights(config: ModelConfig, device: torch.device, *, again: bool = False) -> PreTrainedModel:
    """Load a model, with its adapters merged. Only safetensors are read, and no remote code runs.

    Args:
        config: its settings.
        device: where the weights go.
        again: this process has loaded it before, so its files are known to hold what its configuration describes.

    Raises:
        ModelError: the folder has no weights, or they cannot be read or quantized.
        UnknownNameError: no model has this name.
    """
    base, adapters = chain(config.id)
    try:
        model = _load_base(config.model_copy(update={"id": base}), device, again=again)
    except UnseeError as error:
        if not adapters:
            raise
        raise ModelError(f"{error}; it is the base model of {adapters[0]}; {cure(adapters[0])}") from error
    for folder in adapters:
        model = merge_into(model, folder)
    model.eval().requires_grad_(False)  # training turns gradients on where it needs them
    return model


def load_its_processor(config: ModelConfig, model: PreTrainedModel) -> ProcessorMixin:
    """Load the processor that the settings name, else that of the last adapter that has one, else the model's own.

    Raises:
        ModelError: there is none, it cannot be read, or it lacks what questions need.
    """
    base, adapters = chain(config.id)
    own = next((str(folder) for folder in reversed(adapters) if holds_processor(folder)), base)
    named = config.processor or (own if own != base else "")
    whose = named or base
    with loading(f"model {config.id}: the processor of {whose}", "" if named else f"; {PROCESSOR_ADVICE}"):
        processor = load_processor(str(shipped().get(whose) or whose), model.config)
        if not isinstance(processor, ProcessorMixin):  # transformers takes the tokenizer where it finds nothing else
            raise ModelError("its files name no processor that transformers knows")
    processor.chat_template = processor.chat_template or getattr(processor.tokenizer, "chat_template", None)
    if not processor.chat_template:
        raise ModelError(f"model {config.id}: has no chat template; questions cannot be put to it")
    if processor.tokenizer.eos_token_id is None:
        raise ModelError(f"model {config.id}: its tokenizer names no end token; set eos_token in tokenizer_config.json")
    return processor


def _load_base(config: ModelConfig, device: torch.device, *, again: bool) -> PreTrainedModel:
    id = config.id
    source = shipped().get(id) or Path(id)
    paths = []
    if source.is_dir():
        paths = check_folder(config, source)
    elif id == MADE:
        raise ModelError(f"model {id}: there is no such folder yet; `unsee models make-small --out {id}` writes it")
    elif source.is_absolute() or id.startswith((".", "~")) or id.endswith("/"):
        raise ModelError(f"model {id}: there is no such folder")
    elif id.count("/") != 1:
        raise UnknownNameError("model", id, [*shipped(), "a folder", "a hub id (owner/name)"])
    else:
        check_hub(id)
    four_bit = {"quantization_config": _four_bits(id)} if config.quantization == "4bit" else {}
    with loading(f"model {id}:"):
        kind = PreTrainedConfig.get_config_dict(str(source))[0].get("model_type")
    if kind and kind not in MODELS.names():
        known = f"{did_you_mean(str(kind), MODELS.names())} (known: {', '.join(MODELS.names())})"
        raise ModelError(f"model {id}: cannot be loaded: no family {kind!r} of models that take pictures{known}")
    with loading(f"model {id}:"):
        if kind:
            MODELS.get(kind)  # importing the family registers a model class that transformers lacks
        described = AutoConfig.from_pretrained(str(source))
        if paths and not again:
            with torch.device("meta"):
                empty = AutoModelForImageTextToText.from_config(deepcopy(described))
            check_size(config, empty.num_parameters(), paths)
        dtype = _DTYPES[config.dtype] or (torch.bfloat16 if torch.cuda.is_available() else torch.float32)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            str(source), config=described, dtype=dtype, use_safetensors=True, output_loading_info=True, **four_bit
        )
    model, report = loaded
    if lacking := sorted(report["missing_keys"]):
        raise ModelError(f"model {id}: {len(lacking)} of its weights are in no file, such as {lacking[0]}")
    whole: PreTrainedModel = model if four_bit else model.to(device)
    return whole


def _four_bits(id: str) -> BitsAndBytesConfig:
    """Return the quantization of QLoRA: four-bit normal floats, quantized scales, products in bfloat16.

    Raises:
        ModelError: the library or the GPU is missing.
    """
    if not is_bitsandbytes_available():
        raise ModelError(f"model {id}: quantization = '4bit' needs bitsandbytes; pip install 'unsee[4bit]'")
    if not torch.cuda.is_available():
        raise ModelError(f"model {id}: quantization = '4bit' needs a GPU, and torch finds none")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
