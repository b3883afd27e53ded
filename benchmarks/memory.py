"""`python -m benchmarks.memory`: what a LoRA run of a large model holds at its peak, computed; no GPU and no weights.

Parameters are counted on a model without data. What a step keeps for its way back is counted while a model of the same
sizes, but of one and of two decoder layers, takes it on the CPU, and drawn out to all layers. float64 stands in for
bfloat16 there, so that whatever is computed in float32 on purpose counts as float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.gpu import PERCENT, SHAPES, Built, make
from benchmarks.published.unlearning import ALPHA, RANK
from benchmarks.works import QUESTIONS_A_STEP
from unsee.collate import Batch
from unsee.data.builder import build
from unsee.models.vlm import VLM
from unsee.steps import Stream
from unsee.teach import Lessons
from unsee.terminal import print_table
from unsee.train import Scorer

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


@dataclass(frozen=True)
class Kept:
    """What a step keeps for its way back, bytes: of each decoder layer, and of everything else."""

    layer: float
    rest: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    options = parser.parse_args(arguments)
    print(f"LoRA of rank {RANK} in every linear layer of the decoder, Adam, one photo a step")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        build(data, people=10, celebrities=1, percents=(PERCENT,))
        for name in options.models:
            print_table(list(rows(Built(name, data, percent=PERCENT, retain=3, celebrities=1))))
    return 0


def rows(material: Built) -> Iterator[MemoryRow]:
    """Both precisions of the frozen weights, either size of step, with and without checkpointing."""
    shape = material.shape or SHAPES[material.model]
    whole = make(material.model, shape, torch.bfloat16, device="meta")
    trained = ADAM * sum(
        RANK * sum(whole.model.get_submodule(name).weight.shape) for name in whole.lora_modules("decoder")
    )
    for questions in QUESTIONS_A_STEP.values():
        for four_bits in (False, True):
            weights = weight_bytes(whole, four_bits=four_bits)
            for checkpointing in (False, True):
                kept = kept_bytes(material, questions, working=SINGLE if four_bits else BRIEF, anew=checkpointing)
                again = kept_bytes(material, questions, working=SINGLE if four_bits else BRIEF).layer
                held = shape.layers * kept.layer + kept.rest
                peak = weights + trained + held + 2 * again  # a layer computed anew, and its gradients
                yield MemoryRow(
                    material.model, "4 bits" if four_bits else "bfloat16", str(questions),
                    "yes" if checkpointing else "no",
                    *(f"{size / GIGABYTE:.1f}" for size in (weights, trained, held, peak)),
                )  # fmt: skip


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


def kept_bytes(material: Built, questions: int, *, working: int, anew: bool = False) -> Kept:
    """What is kept by models of one and of two layers, and so by each further one.

    Args:
        material: the model's sizes and the people.
        questions: of one person about one photo, in one row.
        working: bytes of a number in the model's own precision.
        anew: with gradient checkpointing.
    """
    shape = material.shape or SHAPES[material.model]
    found = []
    for layers in (1, 2):
        vlm = make(material.model, replace(shape, layers=layers, vision_layers=1), torch.float64)
        if anew:
            vlm.model.activation_checkpointing_enable()
        vlm.add_lora(RANK, ALPHA, "decoder")
        for parameter in vlm.trainable():
            parameter.data = parameter.data.float()
        lessons = Lessons(vlm, material.people("forget"), ("image",), questions, "clean")
        batch = next(iter(Stream(make_trees=lessons.trees, vlm=vlm, seed="memory", batch_examples=1)))
        found.append(kept_by(vlm, batch, working))
    return Kept(found[1] - found[0], 2 * found[0] - found[1])


def kept_by(vlm: VLM, batch: Batch, working: int) -> float:
    """Bytes of all that the graph of a step's loss holds beside parameters."""
    sizes = {torch.float64: working, torch.float32: SINGLE}
    parameters = {parameter.untyped_storage().data_ptr() for parameter in vlm.model.parameters()}
    held: dict[int, float] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            count = storage.nbytes() / tensor.element_size()
            held[storage.data_ptr()] = count * sizes.get(tensor.dtype, tensor.element_size())
        return tensor

    vlm.model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = Scorer(vlm)(batch).log_probability_I.sum()  # alive until all is counted
    total = sum(held.values())
    del loss
    return total


if __name__ == "__main__":
    raise SystemExit(main())
