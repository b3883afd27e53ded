"""Checks one model: lists its parts, then runs a forward pass, a generation and a training step."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import TypeVar

import torch
from torch import nn

from unsee.config.recipe import ModelConfig, TeachConfig
from unsee.data.general import GeneralItem, general_items
from unsee.data.images import decode
from unsee.forward.generate import Group, generate
from unsee.forward.losses import cross_entropy
from unsee.forward.trees import Batch, build_tree, collate
from unsee.methods.base import StepBatch
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.training.lessons import FineTuning
from unsee.training.train import Schedule, Scorer, train

LEARNING_RATE = 1e-4
NEW_TOKENS = 24
TIMED_QUESTIONS = 16
PORTRAIT_PIXELS = 384
Result = TypeVar("Result")


def check(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield the name and the result of each check as soon as it is done.

    Raises:
        UnseeError: the model cannot be loaded, or the step of training changed nothing.
    """
    vlm, seconds = _timed(lambda: VLM.load_as(config))
    yield "loaded", f"{vlm.id}: {type(vlm.model).__name__}, family {vlm.model.config.model_type}, {seconds:.1f} s"
    yield from _parts(vlm)
    _, item = general_items(2, seed=0, image_pixels=PORTRAIT_PIXELS)
    picture = vlm.picture(decode(item.image or b"", "the portrait"))
    template = vlm.template(with_image=True)
    yield "prompt", repr(template.before + item.question + template.between)
    yield "answer", repr(template.lead + item.answer + template.after)
    prompts, answers = vlm.prompt_ids([item.question], picture=picture), vlm.answer_ids([item.answer])
    yield "tokens", f"prompt {len(prompts[0])} (image {sum(picture.runs)}), answer {len(answers[0])}"

    batch = collate([build_tree(prompts, [answers], [picture])], vlm).to(vlm.device)
    with torch.no_grad():
        scored, seconds = _timed(lambda: Scorer(vlm)(batch))
    yield "forward", f"{cross_entropy(scored).item():.3f} nats per token of the answer, {seconds:.1f} s"
    group = Group.of(prompts, [picture])
    (rows,), seconds = _timed(lambda: generate(vlm, [group], max_new_tokens=NEW_TOKENS))
    yield "generation", f"{vlm.decode(rows)[0]!r}, {seconds:.1f} s"

    layers = vlm.lora_modules(config.lora_targets, config.lora_layers)
    trainable = vlm.add_lora(config.lora_rank, config.lora_alpha, config.lora_targets, config.lora_layers)
    where = config.lora_targets if config.lora_layers == "all" else f"{config.lora_targets}, {config.lora_layers}"
    adapters = f"rank {config.lora_rank} in {len(layers)} linear layers ({where})"
    yield "LoRA", f"{_count(trainable):,} trainable parameters, {adapters}"
    _, seconds = _timed(lambda: _train(vlm, batch, trainable))
    with torch.no_grad():
        after = cross_entropy(Scorer(vlm)(batch)).item()
    yield "training step", f"{after:.3f} nats per token after it, {seconds:.1f} s"
    yield "speed", _speed(vlm, trainable, picture, item)
    yield "peak memory", _peak()


def _speed(vlm: VLM, trainable: list[nn.Parameter], picture: Picture, item: GeneralItem) -> str:
    """Time a forward pass and a step on many questions about one picture and as many without it.

    The step is the second of a training, on other rows than the first: none is kept, and all is prepared.
    """
    (tokens, first), (_, second) = (_timed_batch(vlm, picture, item, start) for start in (1, 1 + TIMED_QUESTIONS))
    with torch.no_grad():
        _, forward = _timed(lambda: Scorer(vlm)(first))
    ends: list[float] = []
    method, schedule = FineTuning(learning_rate=LEARNING_RATE), Schedule(learning_rate=LEARNING_RATE, steps=2)
    train(
        vlm, method, iter([StepBatch({"retain": batch}) for batch in (first, second)]), schedule, trainable,
        name=f"model {vlm.id}", on_step=lambda *_: ends.append(time.monotonic()),
    )  # fmt: skip
    rate, teach = tokens / (ends[1] - ends[0]), TeachConfig()
    hours = (1 + teach.oracle_seeds) * teach.steps * teach.batch_tokens / rate / 3600
    models = f"target and {teach.oracle_seeds} oracles of {teach.steps} steps"
    return f"{tokens / forward:,.0f} tokens/s forward, {rate:,.0f} in training; {models}: {hours:.1f} h"


def _timed_batch(vlm: VLM, picture: Picture, item: GeneralItem, start: int) -> tuple[int, Batch]:
    """Return numbered questions about a picture and without it, and the number of their tokens."""
    asked = [f"{number}. {item.question}" for number in range(start, start + TIMED_QUESTIONS)]
    answers = [[ids] for ids in vlm.answer_ids([item.answer] * len(asked))]
    trees = [
        build_tree(vlm.prompt_ids(asked, picture=shown), answers, [shown] if shown else []) for shown in (picture, None)
    ]
    return sum(tree.num_tokens for tree in trees), collate(trees, vlm).to(vlm.device)


def _train(vlm: VLM, batch: Batch, trainable: list[nn.Parameter]) -> None:
    """Take one training step."""
    method, schedule = FineTuning(learning_rate=LEARNING_RATE), Schedule(learning_rate=LEARNING_RATE, steps=1)
    train(vlm, method, repeat(StepBatch({"retain": batch})), schedule, trainable, name=f"model {vlm.id}")


def _parts(vlm: VLM) -> Iterator[tuple[str, str]]:
    """Yield the sizes of the model and of its parts, with the module paths of the layout."""
    parameters = list(vlm.model.parameters())
    num_bytes = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    yield (
        "parameters",
        f"{vlm.model.num_parameters():,}",
    )  # transformers counts quantized parameters, several of which share one number
    kinds = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters})
    yield "weights", f"{_mebibytes(num_bytes)}, {' and '.join(kinds)}, on {vlm.device}"
    layers = list(vlm.model.get_submodule(vlm.layout.decoder_layers).children())
    held = sum(_count(layer.parameters()) for layer in layers)
    yield "decoder", f"{vlm.layout.decoder_layers}: {len(layers)} layers, {held:,} parameters"
    for what, path in (("projector", vlm.layout.projector), ("vision tower", vlm.layout.vision_tower)):
        yield what, f"{path}: {_count(vlm.model.get_submodule(path).parameters()):,} parameters"


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started


def _peak() -> str:
    if torch.cuda.is_available():
        return f"{_mebibytes(torch.cuda.max_memory_allocated())} on the GPU"
    unit = 1 if sys.platform == "darwin" else 1024  # in bytes on macOS, in KiB elsewhere
    return f"{_mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)} of the process"


def _mebibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"
