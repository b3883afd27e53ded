"""Gradient steps on some matrices, everything below them computed once.

The matrices learn as float32 masters; the model computes with the master in its own precision, so that what is
optimised is what will be applied. The model itself is not changed.
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
from unsee.edits.pair_rows import Sheet
from unsee.edits.partial_forward import TOLERANCE, Above, decoder_layers, down_name, layer_of
from unsee.forward.hooks import Gate, Rewrite, capture, frozen, gate_gradient, gated_linear, replace, rewrite
from unsee.forward.losses import Scored
from unsee.models.vlm import VLM

Site = Literal["matrix", "layer"]
Weights = dict[str, Tensor]
Objective = Callable[[Scored, Scored | None, Sheet], Tensor]
PUBLISHED_RATE, PUBLISHED_STEPS, PUBLISHED_ENOUGH = 1e-5, 10, 1e-3
"""The published numbers of stage C: learning rate, most steps per pair, loss that ends a pair."""
BETAS = (0.5, 0.95)
"""Of Adam. Refusing and answering pull apart at every step: a longer memory overshoots and takes twice the steps."""
_FOUND_ADDING: WeakKeyDictionary[nn.Module, dict[int, bool]] = WeakKeyDictionary()
"""For each model whether a layer simply adds what its down projection gives."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long and how fast.

    Attributes:
        learning_rate: Adam's step as a share of the root mean square of each matrix, so that it suits any model.
        epochs: passes over all pictures, in another order each time; the rate falls to 0 over the last half.
        rank: the change of each matrix is a product of two factors of this width, each stepped by `learning_rate`
            itself; 0 for the whole matrix.
    """

    learning_rate: float
    epochs: int
    rank: int = 0


class Tunable:
    """One sheet, to be scored again and again under other weights of some linear modules.

    Where the lowest of them is a layer's down projection alone, and the layer does nothing but add it, everything up to
    its input is kept; otherwise everything up to the input of its layer.

    Args:
        vlm: the model.
        sheet: pictures and questions.
        names: the modules, by name.
        gates: through which their gradient goes, by name.
        site: "matrix" gates the gradient of each matrix alone; "layer", as published, gates what reaches the output of
            its decoder layer, so that several gates compound. With one matrix both are the same.
    """

    def __init__(
        self, vlm: VLM, sheet: Sheet, names: Sequence[str], gates: Mapping[str, Gate] | None = None,
        site: Site = "matrix",
    ) -> None:  # fmt: skip
        self.sheet, self._gates, self._site = sheet, gates or {}, site
        self._modules = {name: linear(vlm, name) for name in names}
        layers = decoder_layers(vlm)
        self._layers = {name: layers[layer_of(vlm, name)] for name in names}
        edited = {layer_of(vlm, name) for name in names}
        lowest = min(edited)
        in_lowest = [name for name in names if layer_of(vlm, name) == lowest]
        split = _split(vlm, sheet, edited) if in_lowest == [down_name(vlm, lowest)] else None
        self._short = in_lowest[0] if split else ""
        if split:
            self._above, self._beside_BTD, self._input_BTF = split
        else:
            self._above = Above(vlm, sheet.batch, lowest - 1, edited=edited)

    def score(self, weights: Mapping[str, Tensor]) -> Scored:
        """Scores of the sheet's answers under these weights; differentiable in them."""
        at_matrix = self._gates if self._site == "matrix" else {}
        at_layer = self._gates if self._site == "layer" else {}
        forwards: dict[nn.Module, Rewrite] = {
            module: partial(_linear_map, weight=weights[name], bias=module.bias, gate=at_matrix.get(name))
            for name, module in self._modules.items()
        }
        watched = {
            self._layers[name]: partial(gate_gradient, gate=gate)
            for name, gate in at_layer.items()
            if name != self._short
        }
        with replace(forwards), rewrite(watched):
            if not self._short:
                return self._above(self._above.hidden_BVD)
            hidden_BTD = self._beside_BTD + forwards[self._modules[self._short]](self._input_BTF)
            if self._short in at_layer:
                hidden_BTD = gate_gradient(hidden_BTD, at_layer[self._short])
            return self._above(hidden_BTD)


def tune(
    vlm: VLM, sheets: Sequence[Sheet], names: Sequence[str], course: Course, objective: Objective, *,
    gates: Sequence[Mapping[str, Gate]] | None = None, compares: bool = False,
    constrain: Callable[[str, Tensor, Tensor], Tensor] | None = None, seed: int = 0, progress: Progress | None = None,
) -> Weights:  # fmt: skip
    """What minimising the objective adds to each matrix, float32, by name.

    Args:
        gates: for each sheet, the gate of each matrix.
        objective: (scores, scores of the unedited model if it `compares`, sheet) -> scalar.
        constrain: (name, unedited matrix, matrix) -> the nearest allowed matrix; applied after every step.

    Raises:
        ModelError: the loss is not a finite number.
    """
    with frozen(vlm.model):
        start = matrices(vlm, names)
        learned = {name: _Change(matrix, course.rank, seed) for name, matrix in start.items()}
        ready = [Tunable(vlm, sheet, names, gates[i] if gates else None) for i, sheet in enumerate(sheets)]
        with torch.no_grad():
            before = [tunable.score(start) if compares else None for tunable in ready]
        groups = [
            {"params": change.parameters(), "lr": course.learning_rate * change.unit} for change in learned.values()
        ]
        optimiser = torch.optim.Adam(groups, betas=BETAS)
        total = course.epochs * len(ready)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 * (1 - step / total)))
        with (progress or Silent()).task("edit", total) as advance:
            for index in _epochs(len(ready), course.epochs, seed):
                weights = {name: change() for name, change in learned.items()}
                loss = objective(ready[index].score(weights), before[index], ready[index].sheet)
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
    vlm: VLM, sheet: Sheet, weights: Weights, gates: Mapping[str, Gate], *, benign_weight: float, epsilon: float
) -> None:
    """One pair's steps in the published precision: half-precision matrices, moved in place by a fresh Adam.

    Deviation: no autocast; the model computes in its own precision.

    Source: arXiv:2603.12598, Sec. 3.3; hyper-parameters of the published code.
    """
    tunable = Tunable(vlm, sheet, list(weights), gates, site="layer")
    for matrix in weights.values():
        matrix.requires_grad_(True)
    optimiser = torch.optim.Adam(list(weights.values()), lr=PUBLISHED_RATE, eps=epsilon)
    for _ in range(PUBLISHED_STEPS):
        loss = sheet.loss_B(tunable.score(weights), benign_weight).mean()
        if loss.item() < PUBLISHED_ENOUGH:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for matrix in weights.values():
        matrix.requires_grad_(False)


@contextmanager
def working_with(vlm: VLM, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """The model computing with other weights of some linear modules."""
    modules = {linear(vlm, name): weight for name, weight in weights.items()}
    forwards: dict[nn.Module, Rewrite] = {
        module: partial(_linear_map, weight=weight, bias=module.bias, gate=None) for module, weight in modules.items()
    }
    with replace(forwards):
        yield


def refuse(benign_weight: float) -> Objective:
    """Mean over pictures of the refusal loss plus `benign_weight` times the benign loss."""
    return lambda scored, before, sheet: sheet.loss_B(scored, benign_weight).mean()


def matrices(vlm: VLM, names: Sequence[str]) -> Weights:
    """The model's own weights of some linear modules, float32, by name."""
    return {name: linear(vlm, name).weight.detach().float() for name in names}


@torch.no_grad()
def _split(vlm: VLM, sheet: Sheet, edited: Collection[int]) -> tuple[Above, Tensor, Tensor] | None:
    """What lies above the lowest edited layer, what that gives without its down projection, and what this is given.

    None where the layer does not simply add what the down projection gives; that is checked with a model's first sheet.
    """
    lowest = min(edited)
    down = linear(vlm, down_name(vlm, lowest))
    with capture([down]) as (inside,):
        above = Above(vlm, sheet.batch, lowest, edited=edited)
    beside_BTD = above.hidden_BVD - F.linear(inside.input, down.weight, down.bias)
    adds = _FOUND_ADDING.setdefault(vlm.model, {})
    if lowest not in adds:
        alone_BTD = _without(vlm, sheet, down, lowest)
        error = float((beside_BTD - alone_BTD).abs().max() / above.hidden_BVD.abs().max())
        adds[lowest] = error <= TOLERANCE[beside_BTD.dtype]
    return (above, beside_BTD, inside.input) if adds[lowest] else None


def _without(vlm: VLM, sheet: Sheet, down: nn.Linear, layer: int) -> Tensor:
    """What a layer gives if its down projection gives nothing."""
    silence = partial(_linear_map, weight=torch.zeros_like(down.weight), bias=None, gate=None)
    with replace({down: silence}), capture([decoder_layers(vlm)[layer]]) as (silent,):
        vlm.hidden(sheet.batch.inputs)
    return silent.output


def _linear_map(input: Tensor, weight: Tensor, bias: Tensor | None, gate: Gate | None) -> Tensor:
    return gated_linear(input, weight.to(input.dtype), bias, gate)


def linear(vlm: VLM, name: str) -> nn.Linear:
    """A linear module by its name.

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


class _Change(nn.Module):
    """A matrix that learns: as a whole, or by a product of two factors that is added to it."""

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
        """Move a whole matrix to the nearest allowed one."""
        self.whole_DF.copy_(nearest(self._start_DF, self.whole_DF))
