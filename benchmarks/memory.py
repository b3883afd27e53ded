"""Compute the peak memory of LoRA training of a large model, without a GPU or weights: `python -m benchmarks.memory`.

Parameters are counted on a model without data. Activations saved for the backward pass are counted on the CPU, with a
model of the same sizes that has one or two decoder layers, and extrapolated to all layers. That model computes in
float64 instead of bfloat16, so that everything that is float32 on purpose counts as float32.
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
from unsee.edits.tune import linear_module
from unsee.forward.trees import Batch
from unsee.models.vlm import VLM
from unsee.training.batches import Stream
from unsee.training.lessons import Lessons
from unsee.training.train import Scorer

QUESTIONS = (4, 12)
GIGABYTE = 1e9
BRIEF, SINGLE, ADAM = 2, 4, 4 + 4 + 4 + 4
"""Bytes of a bfloat16, of a float32, and of a trained float32 with its gradient and Adam's two moments."""
FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in four-bit normal floats: 64 weights share a scale of one byte, 256 scales one of four bytes."""


class MemoryRow(NamedTuple):
    """Memory of one way to train one model, as text, in gigabytes."""

    model: str
    weights_in: str
    questions: str
    checkpointing: str
    weights: str
    adapters: str
    kept: str
    peak: str


class SavedTensors(NamedTuple):
    """Tensors saved for the backward pass: count of numbers in the model's precision, and bytes of all others."""

    numbers: float
    others: float

    def bytes_of(self, working: int) -> float:
        """Return the bytes of all tensors if a number in the model's precision takes `working` bytes."""
        return self.numbers * working + self.others


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument(
        "--questions", type=int, nargs="+", default=QUESTIONS, help="questions about the photo of a step"
    )
    options = parser.parse_args(arguments)
    print(f"LoRA of rank {RANK} in every linear layer of the decoder, Adam, one photo a step")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        build(data, people=10, celebrities=1, percents=(PERCENT,))
        for name in options.models:
            print_table(list(rows(Built(name, data, percent=PERCENT, retain=3, celebrities=1), options.questions)))
    return 0


def rows(material: Built, questions_a_step: Sequence[int] = QUESTIONS) -> Iterator[MemoryRow]:
    """Yield a row for each precision of the frozen weights and size of step, with and without checkpointing."""
    shape = material.shape or SHAPES[material.model]
    whole = make(material.model, shape, torch.bfloat16, device="meta")
    adapted = [linear_module(whole, name) for name in whole.lora_modules("decoder")]
    trained = ADAM * RANK * sum(module.in_features + module.out_features for module in adapted)
    saved: dict[tuple[int, int, bool], SavedTensors] = {}
    for layers in (1, 2):
        short = _short(material, layers)  # one at a time: in float64 each takes gigabytes
        for questions in questions_a_step:
            batch = _batch(short, material, questions)
            saved |= {
                (layers, questions, recompute): saved_tensors(short, batch, recompute=recompute)
                for recompute in (False, True)
            }
        del short
    for questions in questions_a_step:
        precisions = {"bfloat16": BRIEF, "4 bits": SINGLE}
        for (name, working), recompute in itertools.product(precisions.items(), (False, True)):
            weights = weight_bytes(whole, four_bits=working == SINGLE)
            one, two = (saved[layers, questions, recompute].bytes_of(working) for layers in (1, 2))
            activations = one + (two - one) * (shape.layers - 1)
            plain_one, plain_two = (saved[layers, questions, False].bytes_of(working) for layers in (1, 2))
            one_layer = 2 * (plain_two - plain_one)  # the activations of the layer at work, and their gradients
            sizes = (weights, trained, activations, weights + trained + activations + one_layer)
            gigabytes = (f"{size / GIGABYTE:.1f}" for size in sizes)
            yield MemoryRow(material.model, name, str(questions), "yes" if recompute else "no", *gigabytes)


def weight_bytes(vlm: VLM, *, four_bits: bool) -> float:
    """Return the bytes of the frozen weights.

    With four bits, as peft does it, all linear layers but the last have four bits and all other weights are float32.
    """
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
    """Return the model with fewer decoder layers, adapters in float32 and all else in float64."""
    shape = material.shape or SHAPES[material.model]
    vlm = make(material.model, replace(shape, layers=layers, vision_layers=1), torch.float64)
    vlm.add_lora(RANK, ALPHA, "decoder")
    for parameter in vlm.trainable():
        parameter.data = parameter.data.float()
    vlm.model.train()
    return vlm


def _batch(vlm: VLM, material: Built, questions: int) -> Batch:
    """Return the batch of one step: `questions` about one photo, in one row."""
    lessons = Lessons(vlm, material.people("forget"), ("image",), questions, sides=("forget",))
    stream = Stream(make_rows=lessons.rows, sides=("forget",), vlm=vlm, seed="memory", batch_examples=1)
    return next(iter(stream)).forget


def saved_tensors(vlm: VLM, batch: Batch, *, recompute: bool) -> SavedTensors:
    """Return the tensors, other than parameters, that the graph of a step's loss holds.

    The frozen tower and projector save nothing. They are left out, because in float64 they need more than all else.

    Args:
        vlm: the model.
        batch: the batch of the step.
        recompute: turn gradient checkpointing on.
    """
    toggle = vlm.model.activation_checkpointing_enable if recompute else vlm.model.activation_checkpointing_disable
    toggle()  # type: ignore[no-untyped-call]
    parameters = {parameter.untyped_storage().data_ptr() for parameter in vlm.model.parameters()}
    tensors: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in parameters:
            tensors[place] = tensor  # keeps it alive, so that no other tensor takes its address
        return tensor

    tokens = int((batch.inputs["input_ids"] == vlm.family.image_token).sum())
    seen = SimpleNamespace(pooler_output=[torch.zeros(tokens, vlm.model.config.get_text_config().hidden_size)])
    with (
        patch.object(vlm.model.model, "get_image_features", lambda *_, **__: seen),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        Scorer(vlm)(batch).log_probability_I.sum()
    in_model_precision = [tensor for tensor in tensors.values() if tensor.dtype == torch.float64]
    others = [tensor for tensor in tensors.values() if tensor.dtype != torch.float64]
    return SavedTensors(
        sum(tensor.untyped_storage().nbytes() / tensor.element_size() for tensor in in_model_precision),
        sum(tensor.untyped_storage().nbytes() for tensor in others),
    )


if __name__ == "__main__":
    raise SystemExit(main())
