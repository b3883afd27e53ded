"""Rank-one model editing (ROME)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unsee.data.pairs import PrivacyPair, by_case, to_refuse
from unsee.data.texts import GENERAL_TEXTS, load_texts
from unsee.edits.keys import add_ridge, rank_one, refusing_shifts_BD, second_moment, subject_keys_BF, subject_states_BD
from unsee.edits.pair_rows import make_pair_rows, queries
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.edits.tune import temporary_weights, weights_of
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("rome", paper="arXiv:2202.05262", label="ROME")
@dataclass(frozen=True, kw_only=True)
class ROME(EditMethod):
    """Write the refusal into one matrix by rank-one updates, one for each picture, one after another.

    Deviations: the value is found with the refusal objective; the key is the mean over the picture's questions, not
    over generated prefixes; the second moment gets a small ridge so that it can be inverted on few texts.

    Attributes:
        layers: one layer, or "auto" for the one at a third of the depth.
        benign_weight: factor of the benign loss, >= 0.
        value_rate: Adam's step of the value, as a share of the state's root mean square, > 0.
        value_steps: Adam's steps of the value.
        reach: longest change of the state by one update, in lengths of the unedited model's state, > 0.
        texts: texts on which the usual keys are measured: "general", or a file with one text per line.
        ridge: added to the second moment's diagonal, as a share of its mean, > 0.
    """

    layers: Layers = AUTO
    benign_weight: NonNegativeFloat = 1.25
    value_rate: PositiveFloat = 0.5
    value_steps: PositiveInt = 25
    reach: PositiveFloat = 4.0
    texts: str = GENERAL_TEXTS
    ridge: PositiveFloat = 1e-3

    def __post_init__(self) -> None:
        """Refuse several layers."""
        if self.layers != AUTO and not self.layers.isdecimal():
            raise ValueError(f"layers: must be one layer, got '{self.layers}'")

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Compute each update on the model with the earlier ones in it."""
        (layer,) = parse_layers(vlm, self.layers)
        (name,) = names = [down_name(vlm, layer)]
        moment_FF = add_ridge(second_moment(vlm, layer, load_texts(self.texts), work.cache), self.ridge)
        start = weights_of(vlm, names)[name]
        weight_DF = start.double()
        cases = by_case(to_refuse(pairs))
        with work.progress.task("edit", len(cases)) as advance:
            for case in cases:
                rows = make_pair_rows(vlm, [queries(case)])
                state_BD = subject_states_BD(vlm, rows, layer)
                with temporary_weights(vlm, {name: weight_DF}):
                    shift_D = refusing_shifts_BD(
                        vlm, rows, layer, state_BD, benign_weight=self.benign_weight, rate=self.value_rate,
                        steps=self.value_steps, reach=self.reach,
                    )[0].double()  # fmt: skip
                    key_F = subject_keys_BF(vlm, rows, layer)[0].double()
                weight_DF = weight_DF + rank_one(weight_DF, key_F, weight_DF @ key_F + shift_D, moment_FF)
                advance(1)
        delta = weight_DF.sub(start.double()).to(torch.float32)
        return Deltas(deltas={name: delta})
