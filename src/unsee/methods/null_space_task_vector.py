"""Task-vector negation in the null space of what the retain questions feed into each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from unsee.config.search import Range
from unsee.data.schema import Input
from unsee.edits.keys import null_space_projection
from unsee.forward.hooks import capture
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    ArithmeticMethod,
    Batches,
    Change,
    Deltas,
    Loss,
    Model,
    NonNegativeInt,
    PositiveFloat,
    Share,
    Side,
    StepBatch,
)
from unsee.models.vlm import VLM

INPUTS: tuple[Input, ...] = ("image", "text")


@METHODS.register("null_space_task_vector", paper="VL-Eraser, CVPR 2026")
@dataclass(frozen=True, kw_only=True)
class NullSpaceTaskVector(ArithmeticMethod):
    """Negate a task vector after dropping what would change the layers' outputs on retain questions.

    The idea of VL-Eraser: with D the change of a matrix by fine-tuning on the forget answers, subtract
    `strength * D P`. P projects onto the directions that the inputs of the matrix hardly take on retain questions. The
    paper's constants and code are not public: the share of energy in the null space is ours, and the training is plain
    cross-entropy, projected once after it instead of at each step. Only linear layers of the decoder change.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        strength: factor of the negated change, > 0.
        free_share: share of the energy of the retain inputs inside the null space, > 0; 1 is `task_vector`.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 20
    strength: Annotated[PositiveFloat, Range(0.25, 4)] = 1.0
    free_share: Annotated[Share, Range(1e-3, 0.2)] = 0.01

    @property
    def sides(self) -> tuple[Side, ...]:
        """The forget side."""
        return ("forget",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `CE(forget)`, which is lowered."""
        forget = cross_entropy(model(batch.forget))
        return Loss(forget, {"forget": forget.item()})

    def after_training(self, changes: Mapping[str, Change], vlm: VLM, batches: Batches) -> Deltas:
        """Return `-strength * D P` for each linear layer of the decoder."""
        (change,) = changes.values()
        deltas = {}
        for names, moment_FF in retain_moments(vlm, batches):
            free_FF = null_space_projection(moment_FF, self.free_share)
            for name in names:
                delta = change.get(name, change.get(f"{name}.weight"))
                if delta is not None:
                    deltas[name] = (-self.strength * delta.to(free_FF) @ free_FF).float()
        return Deltas(deltas=deltas)


@torch.no_grad()
def retain_moments(vlm: VLM, batches: Batches) -> list[tuple[list[str], Tensor]]:
    """Return the sum of outer products (F, F), float64, of the inputs of linear layers on retain questions.

    Layers that share an input come together, by name. All tokens count but padding. The sums lie in main memory: for a
    model of 7 billion parameters 45 GB.
    """
    root = vlm.model.get_submodule(vlm.layout.decoder_layers)
    linear = {
        f"{vlm.layout.decoder_layers}.{name}": part
        for name, part in root.named_modules()
        if isinstance(part, nn.Linear)
    }
    groups: dict[str, list[str]] = {}
    sums: dict[str, Tensor] = {}
    for batch in (batch for kind in INPUTS for batch in batches("retain", kind)):
        with capture(list(linear.values())) as seen:
            vlm.hidden(batch.inputs)
        inputs = {name: one.input for name, one in zip(linear, seen, strict=True)}
        if not groups:
            first = {id(value): name for name, value in reversed(inputs.items())}
            for name, value in inputs.items():
                groups.setdefault(first[id(value)], []).append(name)
        real_BT = batch.inputs["input_ids"] != vlm.pad_token
        for name in groups:
            value_TF = inputs[name][real_BT].double()
            sums[name] = sums.get(name, 0) + (value_TF.T @ value_TF).cpu()
    return [(names, sums[name]) for name, names in groups.items()]
