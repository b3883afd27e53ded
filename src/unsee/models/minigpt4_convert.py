"""Converting the published checkpoints of MiniGPT-4 to one folder in the hub's format.

The weights come from up to three files: the EVA tower, MiniGPT-4's projection, and for the Vicuna variant BLIP-2's
Q-Former with the final norm of the tower. The decoder comes from a folder of transformers. The files are pickles, and
only tensors are read from them.
"""

from __future__ import annotations

import difflib
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from unsee.core.errors import ModelError
from unsee.core.files import replacing
from unsee.core.record import check_free
from unsee.models.minigpt4_model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from unsee.models.minigpt4_processor import (
    IMAGE_TOKEN,
    LLAMA2,
    VICUNA,
    WORD_START,
    Chat,
    MiniGPT4ImageProcessor,
    MiniGPT4Processor,
    llama_tokenizer,
)

log = logging.getLogger(__name__)

VICUNA_ENDS = ("###", f"{WORD_START}###", "##")  # tokens that can begin the closing ### of an answer
_TOWER = "model.vision_tower.vision_model."
_NORM = _TOWER + "post_layernorm."
_Q_FORMER = "model.vision_tower.qformer."
_QUERIES = "model.vision_tower.query_tokens"
_PROJECTION = "model.language_projection."
_TOWER_KEYS = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding.": "patch_embed.proj.",
    "encoder.layers.": "blocks.",
    ".layer_norm": ".norm",
    ".self_attn.projection.": ".attn.proj.",
    ".self_attn.": ".attn.",
}
_Q_FORMER_KEYS = {"layernorm.": "embeddings.LayerNorm.", "attention.attention.": "attention.self."}


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of one published file, by name."""

    path: Path
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read the tensors of a file and nothing else.

        Raises:
            ModelError: the file does not exist, cannot be read, or holds something other than plain tensors.
        """
        if not path.is_file():
            raise ModelError(f"checkpoint {path}: no such file")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ModelError(
                f"checkpoint {path}: holds more than tensors, and nothing that could run code is read"
            ) from error
        except Exception as error:  # zip, pickle and torch each raise types of their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"checkpoint {path}: cannot be read: {reason}") from error
        if isinstance(content, dict) and isinstance(content.get("model"), dict):
            content = content["model"]
        if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
            raise ModelError(f"checkpoint {path}: holds no tensors by name")
        return cls(path, {name: value for name, value in content.items() if isinstance(value, Tensor)})

    def take(self, key: str, shape: torch.Size) -> Tensor:
        """Return the tensor of a name.

        Raises:
            ModelError: no tensor has this name, or it has another shape.
        """
        if key not in self.tensors:
            near = difflib.get_close_matches(key, self.tensors, n=1, cutoff=0.0)
            raise ModelError(f"checkpoint {self.path}: has no '{key}'; the nearest of its names is '{near[0]}'")
        tensor = self.tensors[key]
        if tensor.shape != shape:
            got, needed = (" x ".join(map(str, size)) or "a number" for size in (tensor.shape, shape))
            raise ModelError(f"checkpoint {self.path}: '{key}' is {got}; this model needs {needed}")
        return tensor


@dataclass(frozen=True)
class Sources:
    """Sources of the weights.

    Attributes:
        vit: the file of the EVA tower.
        minigpt4: the file of the projection.
        q_former: BLIP-2's file, for the Vicuna variant.
        decoder: weights of the decoder by their names in transformers.
    """

    vit: Checkpoint
    minigpt4: Checkpoint
    q_former: Checkpoint | None
    decoder: Mapping[str, Tensor]

    def weight(self, name: str, shape: torch.Size) -> Tensor:
        """Return the tensor for a weight's name in `MiniGPT4ForConditionalGeneration`.

        Raises:
            ModelError: its file lacks the tensor, or holds one of another shape.
        """
        if name.startswith(_NORM):
            kind = name.removeprefix(_NORM)
            if self.q_former:
                return self.q_former.take(f"ln_vision.{kind}", shape)
            return (
                torch.ones(shape) if kind == "weight" else torch.zeros(shape)
            )  # never trained, so in no published file
        if name.startswith(_TOWER):
            key = _renamed(name.removeprefix(_TOWER), _TOWER_KEYS)
            return self._qkv_bias(key, shape) if key.endswith("qkv.bias") else self.vit.take(key, shape)
        if name.startswith(_PROJECTION):
            return self.minigpt4.take("llama_proj." + name.removeprefix(_PROJECTION), shape)
        if self.q_former and name.startswith(_Q_FORMER):
            return self.q_former.take("Qformer.bert." + _renamed(name.removeprefix(_Q_FORMER), _Q_FORMER_KEYS), shape)
        if self.q_former and name == _QUERIES:
            return self.q_former.take("query_tokens", shape)
        return self.decoder[name.replace("model.language_model.", "model.")]

    def _qkv_bias(self, key: str, shape: torch.Size) -> Tensor:
        """Return the joined bias of queries, keys and values. The published file has none for the keys: it is zero."""
        third, stem = torch.Size([shape[0] // 3]), key.removesuffix("qkv.bias")
        query, value = (self.vit.take(f"{stem}{letter}_bias", third) for letter in "qv")
        return torch.cat([query, torch.zeros_like(value), value])


def convert(
    vit: Path,
    checkpoint: Path,
    language_model: Path,
    out: Path,
    *,
    q_former: Path | None = None,
    vision_config: Blip2VisionConfig | None = None,
    qformer_config: Blip2QFormerConfig | None = None,
) -> None:
    """Write MiniGPT-4 to a new folder. The weights keep the values and the precision of the files.

    Args:
        vit: file of the EVA tower, published as eva_vit_g.pth; blocks beyond those of `vision_config` are left out.
        checkpoint: MiniGPT-4's own file, with the projection.
        language_model: folder of Llama-2-7b-chat or of Vicuna.
        out: folder to write; must be new or empty.
        q_former: BLIP-2's file, published as blip2_pretrained_flant5xxl.pth; gives the Vicuna variant.
        vision_config: sizes of the tower; the published ones by default.
        qformer_config: sizes of the Q-Former; the published ones by default.

    Raises:
        ModelError: a file cannot be read, lacks a tensor, or holds one of another shape; nothing is written.
        RecordError: the folder to write is not empty, or cannot be written.
    """
    check_free(out)
    published = Checkpoint.read(vit), Checkpoint.read(checkpoint), Checkpoint.read(q_former) if q_former else None
    chat = VICUNA if q_former else LLAMA2
    decoder, tokenizer = _read_decoder(language_model, chat)
    sources = Sources(*published, decoder.state_dict())
    config = MiniGPT4Config(
        vision_config=vision_config or Blip2VisionConfig(),
        qformer_config=(qformer_config or Blip2QFormerConfig()) if q_former else None,
        text_config=decoder.config,
        image_token_id=tokenizer.get_vocab()[IMAGE_TOKEN],
        tie_word_embeddings=decoder.config.tie_word_embeddings,
    )
    _check_variant(sources.minigpt4, config)
    with torch.device("meta"):
        model = MiniGPT4ForConditionalGeneration(config)
    weights = {name: sources.weight(name, empty.shape) for name, empty in model.state_dict().items()}
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    model.generation_config = _endings(tokenizer, chat)
    size = config.vision_config.image_size
    processor = MiniGPT4Processor(
        MiniGPT4ImageProcessor(size={"height": size, "width": size}),
        tokenizer,
        num_image_tokens=config.num_image_tokens,
        chat_template=chat.template,
    )
    with replacing(out) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    log.info("converted folder=%s tensors=%d", out, len(weights))


def _read_decoder(folder: Path, chat: Chat) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    if not folder.is_dir():
        raise ModelError(f"language model {folder}: no such folder")
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype="auto", output_loading_info=True)
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    except Exception as error:  # transformers, tokenizers and safetensors each raise types of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"language model {folder}: cannot be loaded: {reason}") from error
    decoder, report = loaded
    if decoder.config.model_type != "llama":
        raise ModelError(f"language model {folder}: is of the family '{decoder.config.model_type}', not 'llama'")
    if lacking := sorted(report["missing_keys"]):
        raise ModelError(f"language model {folder}: {len(lacking)} of its weights are in no file, such as {lacking[0]}")
    decoder.config.name_or_path = ""  # do not publish a local path
    return decoder, llama_tokenizer(tokenizer, chat.answer_mark)


def _check_variant(checkpoint: Checkpoint, config: MiniGPT4Config) -> None:
    """Raise a `ModelError` that says what to do if the projection belongs to the other variant."""
    weight = checkpoint.tensors.get("llama_proj.weight")
    if weight is None or weight.shape[-1] == config.image_token_size:
        return
    if config.qformer_config is None and weight.shape[-1] == Blip2QFormerConfig().hidden_size:
        raise ModelError(
            f"checkpoint {checkpoint.path}: its projection reads a Q-Former; add --q-former, BLIP-2's file"
        )
    if config.qformer_config and weight.shape[-1] == config.vision_config.hidden_size * config.patches_per_token:
        raise ModelError(f"checkpoint {checkpoint.path}: its projection reads joined patches; leave --q-former out")


def _renamed(name: str, keys: Mapping[str, str]) -> str:
    for ours, theirs in keys.items():
        name = name.replace(ours, theirs)
    return name


def _endings(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> GenerationConfig:
    """Return the tokens that end an answer: the end token, and for Vicuna every token that ### can begin with."""
    vocabulary = tokenizer.get_vocab()
    marks = [vocabulary[mark] for mark in VICUNA_ENDS if mark in vocabulary] if chat is VICUNA else []
    ends = [tokenizer.eos_token_id, *marks]
    return GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id)
