"""A MiniGPT-4 small enough for a test, in both variants, and its parts as the published files hold them.

The tower and the Q-Former are written here once more, in plain torch over a dict of tensors under the published names,
so that what the conversion makes of them can be compared.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import tiny
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear
from transformers import (
    Blip2QFormerConfig,
    Blip2VisionConfig,
    Blip2VisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

from unsee.models.minigpt4_convert import convert
from unsee.models.minigpt4_processor import IMAGE_SYSTEM
from unsee.models.vlm import VLM
from unsee.nano.language import make_minigpt4, make_minigpt4_processor, train_tokenizer

WIDTH, HEADS, PATCH, SIDE, BLOCKS = 32, 2, 8, 64, 2
Q_WIDTH, Q_LAYERS = 24, 3
DECODER = 48
VISION = Blip2VisionConfig(
    hidden_size=WIDTH, intermediate_size=40, num_hidden_layers=BLOCKS, num_attention_heads=HEADS, image_size=SIDE,
    patch_size=PATCH,
)  # fmt: skip
Q_FORMER = Blip2QFormerConfig(
    hidden_size=Q_WIDTH, num_hidden_layers=Q_LAYERS, num_attention_heads=2, intermediate_size=56,
    encoder_hidden_size=WIDTH,
)  # fmt: skip


def make_vlm(seed: int = 0) -> VLM:
    """A fresh tiny model of the kind that ships; the same for the same seed."""
    return copy.deepcopy(_built(seed))


@cache
def _built(seed: int) -> VLM:
    torch.manual_seed(seed)
    config = copy.deepcopy(VISION)
    config.initializer_range = 0.2
    tokenizer = train_tokenizer([*tiny.QUESTIONS, *tiny.ANSWERS, tiny.SYSTEM])
    model = make_minigpt4(Blip2VisionModel(config), tokenizer, width=DECODER, layers=2, seed=seed)
    return VLM(model.eval(), make_minigpt4_processor(tokenizer), "tiny")


def tower_tensors() -> dict[str, Tensor]:
    """A tower under the published names, one block more than the model uses, and the old head."""
    patches = (SIDE // PATCH) ** 2
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, patches + 1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "head.weight": (10, WIDTH),
    }
    for i in range(BLOCKS + 1):
        shapes |= {
            f"blocks.{i}.attn.qkv.weight": (3 * WIDTH, WIDTH),
            f"blocks.{i}.attn.q_bias": (WIDTH,),
            f"blocks.{i}.attn.v_bias": (WIDTH,),
        }
        shapes |= _linear(f"blocks.{i}.attn.proj", WIDTH, WIDTH) | _norm(f"blocks.{i}.norm1", WIDTH)
        shapes |= _linear(f"blocks.{i}.mlp.fc1", WIDTH, 40) | _linear(f"blocks.{i}.mlp.fc2", 40, WIDTH)
        shapes |= _norm(f"blocks.{i}.norm2", WIDTH)
    return _random(shapes)


def q_former_tensors() -> dict[str, Tensor]:
    """A Q-Former with its queries and the norm before it, under BLIP-2's names."""
    shapes = {"query_tokens": (1, 32, Q_WIDTH)} | _norm("ln_vision", WIDTH)
    shapes |= _norm("Qformer.bert.embeddings.LayerNorm", Q_WIDTH)
    for i in range(Q_LAYERS):
        layer = f"Qformer.bert.encoder.layer.{i}"
        for kind, read in (("attention", Q_WIDTH), ("crossattention", WIDTH)):
            if kind == "crossattention" and i % 2:
                continue
            shapes |= _linear(f"{layer}.{kind}.self.query", Q_WIDTH, Q_WIDTH)
            shapes |= _linear(f"{layer}.{kind}.self.key", read, Q_WIDTH)
            shapes |= _linear(f"{layer}.{kind}.self.value", read, Q_WIDTH)
            shapes |= _linear(f"{layer}.{kind}.output.dense", Q_WIDTH, Q_WIDTH)
            shapes |= _norm(f"{layer}.{kind}.output.LayerNorm", Q_WIDTH)
        shapes |= _linear(f"{layer}.intermediate_query.dense", Q_WIDTH, 56)
        shapes |= _linear(f"{layer}.output_query.dense", 56, Q_WIDTH)
        shapes |= _norm(f"{layer}.output_query.LayerNorm", Q_WIDTH)
    return _random(shapes)


def projection_tensors(width: int) -> dict[str, Tensor]:
    """The projection from image tokens of this width."""
    return _random(_linear("llama_proj", width, DECODER))


def see(tower: dict[str, Tensor], pixels_BCHW: Tensor) -> Tensor:
    """The tower's features of all patches and the class token, without any norm behind it."""
    patches = torch.nn.functional.conv2d(
        pixels_BCHW, tower["patch_embed.proj.weight"], tower["patch_embed.proj.bias"], stride=PATCH
    )
    tokens = torch.cat([tower["cls_token"].expand(len(patches), -1, -1), patches.flatten(2).mT], 1) + tower["pos_embed"]
    for i in range(BLOCKS):
        part = {k.removeprefix(f"blocks.{i}."): v for k, v in tower.items() if k.startswith(f"blocks.{i}.")}
        normed = layer_norm(tokens, (WIDTH,), part["norm1.weight"], part["norm1.bias"], 1e-6)
        query, key, value = linear(normed, part["attn.qkv.weight"]).chunk(3, -1)
        seen = _attend(query + part["attn.q_bias"], key, value + part["attn.v_bias"])
        tokens = tokens + linear(seen, part["attn.proj.weight"], part["attn.proj.bias"])
        normed = layer_norm(tokens, (WIDTH,), part["norm2.weight"], part["norm2.bias"], 1e-6)
        inner = gelu(linear(normed, part["mlp.fc1.weight"], part["mlp.fc1.bias"]))
        tokens = tokens + linear(inner, part["mlp.fc2.weight"], part["mlp.fc2.bias"])
    return tokens


def ask_queries(q_former: dict[str, Tensor], features_BPF: Tensor) -> Tensor:
    """What the queries read in features that went through `ln_vision`."""

    def normed(tokens: Tensor, name: str) -> Tensor:
        return layer_norm(tokens, (Q_WIDTH,), q_former[f"{name}.weight"], q_former[f"{name}.bias"], 1e-12)

    def applied(tokens: Tensor, name: str) -> Tensor:
        return linear(tokens, q_former[f"{name}.weight"], q_former[f"{name}.bias"])

    tokens = normed(q_former["query_tokens"].expand(len(features_BPF), -1, -1), "Qformer.bert.embeddings.LayerNorm")
    for i in range(Q_LAYERS):
        layer = f"Qformer.bert.encoder.layer.{i}"
        for kind in ("attention", "crossattention") if i % 2 == 0 else ("attention",):
            read = tokens if kind == "attention" else features_BPF
            names = [f"{layer}.{kind}.self.{part}" for part in ("query", "key", "value")]
            seen = _attend(*(applied(x, name) for x, name in zip((tokens, read, read), names, strict=True)))
            tokens = normed(tokens + applied(seen, f"{layer}.{kind}.output.dense"), f"{layer}.{kind}.output.LayerNorm")
        inner = gelu(applied(tokens, f"{layer}.intermediate_query.dense"))
        tokens = normed(tokens + applied(inner, f"{layer}.output_query.dense"), f"{layer}.output_query.LayerNorm")
    return tokens


def write_published(folder: Path, *, q_former: bool = False) -> dict[str, Path]:
    """The files a user would hold, as arguments of `convert`."""
    folder.mkdir(exist_ok=True)
    files = {"vit": tower_tensors(), "checkpoint": projection_tensors(Q_WIDTH if q_former else 4 * WIDTH)}
    torch.save(files["vit"], folder / "eva_vit_g.pth")
    torch.save({"model": files["checkpoint"], "epoch": 3, "config": {"lr": 1e-5}}, folder / "pretrained_minigpt4.pth")
    found = {"vit": folder / "eva_vit_g.pth", "checkpoint": folder / "pretrained_minigpt4.pth"}
    if q_former:
        found["q_former"] = folder / "blip2.pth"
        torch.save({"model": q_former_tensors()}, found["q_former"])
    tokenizer = llama_like_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=DECODER, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "llama")
    tokenizer.save_pretrained(folder / "llama")
    return found | {"language_model": folder / "llama"}


def convert_published(folder: Path, *, q_former: bool = False) -> tuple[dict[str, Path], Path]:
    """The published files, and the folder they were converted to."""
    files, out = write_published(folder / "published", q_former=q_former), folder / "converted"
    convert(**files, out=out, vision_config=VISION, qformer_config=Q_FORMER)
    return files, out


@cache
def llama_like_tokenizer() -> LlamaTokenizer:
    """Sentencepiece's way of writing, as Llama has it: bytes as tokens, a mark for the space before every word."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts = [*tiny.QUESTIONS, *tiny.ANSWERS, IMAGE_SYSTEM, "[INST] [/INST] <Img> </Img> ###Human: ###Assistant: "] * 3
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    return LlamaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def _linear(name: str, read: int, write: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (write, read), f"{name}.bias": (write,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _random(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(shapes))
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot products in two heads."""
    parts = [tokens.unflatten(-1, (2, -1)).transpose(1, 2) for tokens in (query, key, value)]
    weights = (parts[0] @ parts[1].mT * parts[0].shape[-1] ** -0.5).softmax(-1)
    return (weights @ parts[2]).transpose(1, 2).flatten(2)
