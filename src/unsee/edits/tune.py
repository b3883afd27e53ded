"""Tunes some matrices by gradient steps; everything below them is computed once.

The optimiser steps float32 copies of the matrices, and the model computes with these copies in its own precision: the
loss is that of the weights as they will be applied. The model itself is not changed.
Shape letters: B rows, T tokens, D rows of a matrix, F its columns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unsee.core.errors import ModelError
from unsee.core.progress import Progress, Silent
from unsee.edits.pair_rows import PairRows
from unsee.edits.partial_forward import TOLERANCE, UpperLayers, decoder_layers, down_name, layer_of
from unsee.forward.hooks import (
    NeuronGate,
    Rewrite,
    capture,
    frozen,
    gate_gradient,
    gated_linear,
    replace_forward,
    rewrite_output,
)
from unsee.forward.losses import Scored
from unsee.models.vlm import VLM

Site = Literal["matrix", "layer"]
Weights = dict[str, Tensor]
Objective = Callable[[Scored, Scored | None, PairRows], Tensor]
PUBLISHED_RATE, PUBLISHED_STEPS, PUBLISHED_ENOUGH = 1e-5, 10, 1e-3
"""The published numbers: learning rate, most steps per pair, loss at which a pair is done."""
BETAS = (0.5, 0.95)
"""Adam's betas. The refusal and the benign loss pull apart at every step: longer averages need twice the steps."""
_ADDS_MLP: WeakKeyDictionary[nn.Module, dict[int, bool]] = WeakKeyDictionary()
"""For each model and layer, whether the layer's output is a sum with its down projection's output as one term."""


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """Length and learning rate of a tuning.

    Attributes:
        learning_rate: Adam's step as a share of the root mean square of each matrix, so that it suits any model.
        epochs: passes over all packed rows, each in another order; the rate falls to 0 over the last half.
        rank: width of two factors whose product is the change of a matrix; each is stepped by `learning_rate` itself.
            0 tunes the whole matrix.
    """

    learning_rate: float
    epochs: int
    rank: int = 0


class Tunable:
    """Packed rows, scored again and again under other weights of some linear modules.

    If the lowest edited layer is edited in its down projection alone, and only adds its output, everything up to the
    input of this matrix is computed once; otherwise everything up to the input of the layer.

    Args:
        vlm: the model.
        rows: pictures, questions and wanted answers.
        names: the names of the modules.
        gates: the gates of their gradients, by name.
        site: "matrix" gates the gradient of each matrix alone; "layer", as published, gates the gradient at the output
            of its decoder layer, so that gates of several layers compound. With one matrix both are the same.
    """

    def __init__(
        self, vlm: VLM, rows: PairRows, names: Sequence[str], gates: Mapping[str, NeuronGate] | None = None,
        site: Site = "matrix",
    ) -> None:  # fmt: skip
        self.rows, self._gates, self._site = rows, gates or {}, site
        self._modules = {name: linear_module(vlm, name) for name in names}
        layers = decoder_layers(vlm)
        self._layers = {name: layers[layer_of(vlm, name)] for name in names}
        edited = {layer_of(vlm, name) for name in names}
        lowest = min(edited)
        in_lowest = [name for name in names if layer_of(vlm, name) == lowest]
        split = _split_layer(vlm, rows, edited) if in_lowest == [down_name(vlm, lowest)] else None
        self._split_name = in_lowest[0] if split else ""
        if split:
            self._upper, self._rest_BTD, self._input_BTF = split
        else:
            self._upper = UpperLayers(vlm, rows.batch, lowest - 1, edited=edited)

    def score(self, weights: Mapping[str, Tensor]) -> Scored:
        """Score all answers under these weights; differentiable in them."""
        at_matrix = self._gates if self._site == "matrix" else {}
        at_layer = self._gates if self._site == "layer" else {}
        forwards: dict[nn.Module, Rewrite] = {
            module: partial(_linear_map, weight=weights[name], bias=module.bias, gate=at_matrix.get(name))
            for name, module in self._modules.items()
        }
        watched = {
            self._layers[name]: partial(gate_gradient, gate=gate)
            for name, gate in at_layer.items()
            if name != self._split_name
        }
        with replace_forward(forwards), rewrite_output(watched):
            if not self._split_name:
                return self._upper(self._upper.hidden_BVD)
            hidden_BTD = self._rest_BTD + forwards[self._modules[self._split_name]](self._input_BTF)
            if self._split_name in at_layer:
                hidden_BTD = gate_gradient(hidden_BTD, at_layer[self._split_name])
            return self._upper(hidden_BTD)


def tune(
    vlm: VLM, batches: Sequence[PairRows], names: Sequence[str], plan: TuningPlan, objective: Objective, *,
    gates: Sequence[Mapping[str, NeuronGate]] | None = None, compares: bool = False,
    constrain: Callable[[str, Tensor, Tensor], Tensor] | None = None, seed: int = 0, progress: Progress | None = None,
) -> Weights:  # fmt: skip
    """Minimise the objective and return the change of each matrix, float32, by name.

    Args:
        objective: (scores, scores of the unedited model if `compares`, packed rows) -> scalar.
        gates: for each of the batches, the gate of each matrix.
        compares: whether the objective needs the scores of the unedited model.
        constrain: (name, unedited matrix, matrix) -> the nearest allowed matrix; applied after every step.

    Raises:
        ModelError: the loss is not a finite number.
    """
    with frozen(vlm.model):
        start = weights_of(vlm, names)
        learned = {name: _TrainedMatrix(matrix, plan.rank, seed) for name, matrix in start.items()}
        ready = [Tunable(vlm, rows, names, gates[i] if gates else None) for i, rows in enumerate(batches)]
        with torch.no_grad():
            before = [tunable.score(start) if compares else None for tunable in ready]
        groups = [
            {"params": change.parameters(), "lr": plan.learning_rate * change.unit} for change in learned.values()
        ]
        optimiser = torch.optim.Adam(groups, betas=BETAS)
        total = plan.epochs * len(ready)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 * (1 - step / total)))
        with (progress or Silent()).task("edit", total) as advance:
            for index in _epochs(len(ready), plan.epochs, seed):
                weights = {name: change() for name, change in learned.items()}
                loss = objective(ready[index].score(weights), before[index], ready[index].rows)
                if not loss.isfinite():
                    raise ModelError(f"model {vlm.id}: the edit's loss is {loss.item()}; lower learning_rate")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                if constrain:
                    for name, change in learned.items():
                        change.constrain(partial(constrain, name))
                advance(1)
    return {name: (change() - start[name]).detach() for name, change in learned.items()}


def tune_as_published(
    vlm: VLM, rows: PairRows, weights: Weights, gates: Mapping[str, NeuronGate], *, benign_weight: float, epsilon: float
) -> None:
    """Take the published steps on one pair: half-precision matrices, stepped in place by a fresh Adam.

    Deviation: no autocast; the model computes in its own precision.

    Source: arXiv:2603.12598, Sec. 3.3; hyper-parameters of the published code.
    """
    tunable = Tunable(vlm, rows, list(weights), gates, site="layer")
    for matrix in weights.values():
        matrix.requires_grad_(True)
    optimiser = torch.optim.Adam(list(weights.values()), lr=PUBLISHED_RATE, eps=epsilon)
    for _ in range(PUBLISHED_STEPS):
        loss = rows.loss_B(tunable.score(weights), benign_weight).mean()
        if loss.item() < PUBLISHED_ENOUGH:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for matrix in weights.values():
        matrix.requires_grad_(False)


@contextmanager
def temporary_weights(vlm: VLM, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let the model compute with other weights of some linear modules, for the length of a `with` block."""
    modules = {linear_module(vlm, name): weight for name, weight in weights.items()}
    forwards: dict[nn.Module, Rewrite] = {
        module: partial(_linear_map, weight=weight, bias=module.bias, gate=None) for module, weight in modules.items()
    }
    with replace_forward(forwards):
        yield


def refusal_objective(benign_weight: float) -> Objective:
    """Return the objective of refusing: refusal loss plus `benign_weight` times benign loss, mean over pictures."""
    return lambda scored, before, rows: rows.loss_B(scored, benign_weight).mean()


def weights_of(vlm: VLM, names: Sequence[str]) -> Weights:
    """Return the weights of some linear modules of the model, float32, by name."""
    return {name: linear_module(vlm, name).weight.detach().float() for name in names}


@torch.no_grad()
def _split_layer(vlm: VLM, rows: PairRows, edited: Collection[int]) -> tuple[UpperLayers, Tensor, Tensor] | None:
    """Split the lowest edited layer: the layers above it, its output without its down projection, that one's input.

    None if the output of the down projection is not one term of the layer's output; this is checked once per model.
    """
    lowest = min(edited)
    down = linear_module(vlm, down_name(vlm, lowest))
    with capture([down]) as (inside,):
        upper = UpperLayers(vlm, rows.batch, lowest, edited=edited)
    rest_BTD = upper.hidden_BVD - F.linear(inside.input, down.weight, down.bias)
    adds = _ADDS_MLP.setdefault(vlm.model, {})
    if lowest not in adds:
        alone_BTD = _output_without(vlm, rows, down, lowest)
        error = float((rest_BTD - alone_BTD).abs().max() / upper.hidden_BVD.abs().max())
        adds[lowest] = error <= TOLERANCE[rest_BTD.dtype]
    return (upper, rest_BTD, inside.input) if adds[lowest] else None


def _output_without(vlm: VLM, rows: PairRows, down: nn.Linear, layer: int) -> Tensor:
    """Return the layer's output with a down projection of zeros."""
    silence = partial(_linear_map, weight=torch.zeros_like(down.weight), bias=None, gate=None)
    with replace_forward({down: silence}), capture([decoder_layers(vlm)[layer]]) as (silent,):
        vlm.hidden(rows.batch.inputs)
    return silent.output


def _linear_map(input: Tensor, weight: Tensor, bias: Tensor | None, gate: NeuronGate | None) -> Tensor:
    return gated_linear(input, weight.to(input.dtype), bias, gate)


def linear_module(vlm: VLM, name: str) -> nn.Linear:
    """Return a linear module by its name.

    Raises:
        ModelError: the model has no such linear module.
    """
    try:
        module = vlm.model.get_submodule(name)
    except AttributeError:
        module = nn.Identity()
    if not isinstance(module, nn.Linear):
        raise ModelError(f"model {vlm.id}: has no single matrix {name}; it cannot be edited")
    return module


def _epochs(count: int, epochs: int, seed: int) -> Iterator[int]:
    rng = random.Random(seed)
    for _ in range(epochs):
        yield from rng.sample(range(count), count)


class _TrainedMatrix(nn.Module):
    """A matrix that is tuned: as a whole, or by the product of two factors that is added to it."""

    def __init__(self, start_DF: Tensor, rank: int, seed: int) -> None:
        super().__init__()
        self._start_DF = start_DF
        self.unit = 1.0 if rank else float(start_DF.square().mean().sqrt())
        if rank:
            rows, columns = start_DF.shape
            drawn = torch.randn(rank, columns, generator=torch.Generator().manual_seed(seed)) / columns**0.5
            self.right_RF = nn.Parameter(drawn.to(start_DF.device))
            self.left_DR = nn.Parameter(start_DF.new_zeros(rows, rank))
        else:
            self.whole_DF = nn.Parameter(start_DF.clone())

    def forward(self) -> Tensor:
        if hasattr(self, "whole_DF"):
            return self.whole_DF
        return self._start_DF + self.left_DR @ self.right_RF

    @torch.no_grad()
    def constrain(self, nearest: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Replace a whole matrix by the nearest allowed one."""
        self.whole_DF.copy_(nearest(self._start_DF, self.whole_DF))
