"""Representation misdirection for unlearning (RMU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from unsee.config.search import Range
from unsee.edits.partial_forward import AUTO
from unsee.forward.losses import Scored, cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    Layers,
    Loss,
    LossMethod,
    Model,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    Side,
    StepBatch,
)


@METHODS.register("rmu", paper="arXiv:2403.03218", label="RMU")
@dataclass(frozen=True, kw_only=True)
class RMU(LossMethod):
    """Push a layer's states on forget answers to one random point; hold those on retain answers where they are.

    Source: arXiv:2403.03218, the losses of RMU: `E |h - c u|^2 / d` on forget and `E |h - h0|^2 / d` on retain, with h
    the output of a layer in the model in training, h0 that in the target, u a unit vector and d the width; a mean over
    the tokens of each answer, then over answers. States grow with depth, so an absolute c, as in the paper, means
    something else in each layer and model. Here c is by default a multiple of the mean |h0| on the forget answers
    (arXiv:2408.06223), and u is Gaussian: the paper's u, uniform on [0, 1), is nearly the same for every neuron.
    Deviations: the states are those that predict the tokens of the answer, not those at them; `unlearn.labels = "full"`
    takes all of the text, as CLEAR's code does. All weights or adapters up to the layer are trained, not three layers.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        layers: "3", "2,5", "4-7", or "auto" for the layer at a third of the depth; the paper has layer 7 of 32.
        coefficient: c, > 0; in the paper 6.5 (with `unit = "absolute"`), in OpenUnlearning 2.
        unit: c in units of the "mean_norm" of the target's states, or "absolute" as published.
        direction: the entries of u are "gaussian", or "uniform" as published.
        direction_seed: of u.
        retain_weight: factor of the retain loss, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    layers: Layers = AUTO
    coefficient: Annotated[PositiveFloat, Range(0.5, 20)] = 5.0
    unit: Literal["mean_norm", "absolute"] = "mean_norm"
    direction: Literal["gaussian", "uniform"] = "gaussian"
    direction_seed: NonNegativeInt = 0
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 16)] = 1.0

    @property
    def hidden_layers(self) -> Layers:
        """The layers whose states are pushed."""
        return self.layers

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The retain side, and the forget side if c has the unit of its states."""
        return ("forget", "retain") if self.unit == "mean_norm" else ("retain",)

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `E |h - c u|^2 / d` on forget + `retain_weight * E |h - h0|^2 / d`, summed over layers."""
        forget, retain, kept = model(batch.forget), model(batch.retain), reference(batch.retain)
        before = reference(batch.forget) if self.unit == "mean_norm" else None
        pushed, held = [], []
        for layer, state_UD in forget.hidden.items():
            unit = before.state_ND(layer).float().norm(dim=1).mean() if before else 1.0
            goal_D = self.coefficient * unit * self.unit_vector(state_UD.shape[1]).to(state_UD.device)
            pushed.append(_mean_square(forget.state_ND(layer) - goal_D, forget))
            held.append(_mean_square(retain.state_ND(layer) - kept.state_ND(layer), retain))
        moved, drift = torch.stack(pushed).sum(), torch.stack(held).sum()
        parts = {"forget": cross_entropy(forget).item(), "distance": moved.item(), "drift": drift.item()}
        return Loss(moved + self.retain_weight * drift, parts)

    def unit_vector(self, width: int) -> Tensor:
        """Return u (D), the same in every step."""
        generator = torch.Generator().manual_seed(self.direction_seed)
        drawn_D = torch.empty(width)
        drawn_D = (
            drawn_D.normal_(generator=generator)
            if self.direction == "gaussian"
            else drawn_D.uniform_(generator=generator)
        )
        return torch.nn.functional.normalize(drawn_D, dim=0)


def _mean_square(state_ND: Tensor, scored: Scored) -> Tensor:
    """Return the mean square of the states of each answer, mean over answers."""
    square_N = state_ND.float().square().mean(1)
    sum_I = torch.zeros(scored.num_items, device=square_N.device).index_add(0, scored.item_N, square_N)
    return (sum_I / scored.length_I).mean()
