"""`python -m benchmarks.memory`: what a LoRA run of a large model holds at its peak, computed; no GPU and no weights.

Parameters are counted on a model without data. What a step keeps for its way back is counted while a model of the same
sizes, but of one and of two decoder layers, takes it on the CPU, and drawn out to all layers. float64 stands in for
bfloat16 there, so that whatever is computed in float32 on purpose counts as float32.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.gpu import PERCENT, SHAPES, Built, make
from benchmarks.published.unlearning import ALPHA, RANK
from unsee.cli.terminal import print_table
from unsee.data.people.builder import build
from unsee.edits.tune import linear
from unsee.forward.trees import Batch
from unsee.models.vlm import VLM
from unsee.training.batches import Stream
from unsee.training.lessons import Lessons
from unsee.training.train import Scorer

QUESTIONS = (4, 12)
GIGABYTE = 1e9
BRIEF, SINGLE, ADAM = 2, 4, 4 + 4 + 4 + 4
"""Bytes: of a bfloat16, of a float32, and of a trained float32 with its gradient and Adam's two moments."""
FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in four-bit normal floats: one scale of a byte for 64, one of four bytes for 256 such scales."""


class MemoryRow(NamedTuple):
    """One way to train one model as text, gigabytes."""

    model: str
    weights_in: str
    questions: str
    checkpointing: str
    weights: str
    adapters: str
    kept: str
    peak: str


class Kept(NamedTuple):
    """What a step keeps for its way back: numbers in the model's own precision, and bytes of everything else."""

    numbers: float
    others: float

    def bytes_of(self, working: int) -> float:
        """All of it, if a number of the model takes so many bytes."""
        return self.numbers * working + self.others


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--questions", type=int, nargs="+", default=QUESTIONS, help="about the photo of a step")
    options = parser.parse_args(arguments)
    print(f"LoRA of rank {RANK} in every linear layer of the decoder, Adam, one photo a step")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        build(data, people=10, celebrities=1, percents=(PERCENT,))
        for name in options.models:
            print_table(list(rows(Built(name, data, percent=PERCENT, retain=3, celebrities=1), options.questions)))
    return 0


def rows(material: Built, questions_a_step: Sequence[int] = QUESTIONS) -> Iterator[MemoryRow]:
    """Both precisions of the frozen weights, every size of step, with and without checkpointing."""
    shape = material.shape or SHAPES[material.model]
    whole = make(material.model, shape, torch.bfloat16, device="meta")
    adapted = [linear(whole, name) for name in whole.lora_modules("decoder")]
    trained = ADAM * RANK * sum(module.in_features + module.out_features for module in adapted)
    kept: dict[tuple[int, int, bool], Kept] = {}
    for layers in (1, 2):
        short = _short(material, layers)  # one at a time: in float64 each takes gigabytes
        for questions in questions_a_step:
            batch = _batch(short, material, questions)
            kept |= {(layers, questions, anew): kept_by(short, batch, anew=anew) for anew in (False, True)}
        del short
    for questions in questions_a_step:
        for (name, working), anew in itertools.product({"bfloat16": BRIEF, "4 bits": SINGLE}.items(), (False, True)):
            weights = weight_bytes(whole, four_bits=working == SINGLE)
            one, two = (kept[layers, questions, anew].bytes_of(working) for layers in (1, 2))
            held = one + (two - one) * (shape.layers - 1)
            plain_one, plain_two = (kept[layers, questions, False].bytes_of(working) for layers in (1, 2))
            peak = weights + trained + held + 2 * (plain_two - plain_one)  # a layer computed anew, and its gradients
            sizes = (f"{size / GIGABYTE:.1f}" for size in (weights, trained, held, peak))
            yield MemoryRow(material.model, name, str(questions), "yes" if anew else "no", *sizes)


def weight_bytes(vlm: VLM, *, four_bits: bool) -> float:
    """The frozen weights; of four bits are all linear layers but the last, the others become float32 (peft's way)."""
    if not four_bits:
        return BRIEF * sum(parameter.numel() for parameter in vlm.model.parameters())
    head = vlm.model.get_output_embeddings()
    small = {
        id(module.weight): FOUR_BITS
        for module in vlm.model.modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    return sum(small.get(id(parameter), SINGLE) * parameter.numel() for parameter in vlm.model.parameters())


def _short(material: Built, layers: int) -> VLM:
    """The model with fewer decoder layers and adapters in float32, all else in float64."""
    shape = material.shape or SHAPES[material.model]
    vlm = make(material.model, replace(shape, layers=layers, vision_layers=1), torch.float64)
    vlm.add_lora(RANK, ALPHA, "decoder")
    for parameter in vlm.trainable():
        parameter.data = parameter.data.float()
    vlm.model.train()
    return vlm


def _batch(vlm: VLM, material: Built, questions: int) -> Batch:
    """A step: so many questions about one photo in one row."""
    lessons = Lessons(vlm, material.people("forget"), ("image",), questions, sides=("forget",))
    stream = Stream(make_rows=lessons.rows, sides=("forget",), vlm=vlm, seed="memory", batch_examples=1)
    return next(iter(stream)).forget


def kept_by(vlm: VLM, batch: Batch, *, anew: bool) -> Kept:
    """What the graph of a step's loss holds beside parameters; `anew` with gradient checkpointing.

    The frozen tower and projector keep nothing and are left out: in float64 they would need more than all else.
    """
    toggle = vlm.model.activation_checkpointing_enable if anew else vlm.model.activation_checkpointing_disable
    toggle()  # type: ignore[no-untyped-call]
    parameters = {parameter.untyped_storage().data_ptr() for parameter in vlm.model.parameters()}
    held: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in parameters:
            held[place] = tensor  # alive, so that no other comes to lie there
        return tensor

    tokens = int((batch.inputs["input_ids"] == vlm.family.image_token).sum())
    seen = SimpleNamespace(pooler_output=[torch.zeros(tokens, vlm.model.config.get_text_config().hidden_size)])
    with (
        patch.object(vlm.model.model, "get_image_features", lambda *_, **__: seen),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        Scorer(vlm)(batch).log_probability_I.sum()
    own = [tensor for tensor in held.values() if tensor.dtype == torch.float64]
    others = [tensor for tensor in held.values() if tensor.dtype != torch.float64]
    return Kept(
        sum(tensor.untyped_storage().nbytes() / tensor.element_size() for tensor in own),
        sum(tensor.untyped_storage().nbytes() for tensor in others),
    )


if __name__ == "__main__":
    raise SystemExit(main())
