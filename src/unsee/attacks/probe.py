"""Probe: is the value still readable inside?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from unsee.attacks import ATTACKS
from unsee.attacks.base import StateAttack, States

_CONTROL = "control"


@ATTACKS.register("probe", paper="arXiv:1909.03368", label="probe")
@dataclass(frozen=True, kw_only=True)
class Probe(StateAttack):
    """Read the true option of a choice from the states of each layer, with a linear probe and with the logit lens.

    The probe is a ridge regression from states to the option's mean row of the output matrix, fitted on choices about
    people to keep; it chooses the option whose row is nearest to what it predicts. Its control (Hewitt and Liang 2019)
    is fitted to options drawn at random: what it finds is the probe's own. The logit lens (nostalgebraist 2020) fits
    nothing: it chooses the option whose tokens the head finds likeliest in a layer's states.

    Attributes:
        ridge: strength of the regularisation, relative to the mean variance of a state.
    """

    ridge: Annotated[float, Field(gt=0, le=100)] = 0.3

    def is_control(self, variant: str) -> bool:
        """Return True for probes that are fitted to random options."""
        return variant.startswith(_CONTROL)

    def read(self, known: States, asked: States, seed: int) -> Mapping[str, Tensor]:
        """Return the options that probe, control and logit lens choose in each layer."""
        given, wanted = (option_rows(one) for one in (known, asked))
        generator = torch.Generator().manual_seed(seed)
        drawn_Q = torch.stack([torch.randint(len(rows), (), generator=generator) for rows in given])
        found = {}
        for layer, (known_QD, asked_QD) in enumerate(zip(known.state_LQD, asked.state_LQD, strict=True)):
            for name, chosen_Q in (("probe", known.truth_Q), (_CONTROL, drawn_Q)):
                target_QD = torch.stack([rows[i] for rows, i in zip(given, chosen_Q.tolist(), strict=True)])
                predicted_QD = regressed(known_QD, target_QD, asked_QD, self.ridge)
                scores = [rows @ one for rows, one in zip(wanted, predicted_QD, strict=True)]
                found[f"{name}, layer {layer}"] = torch.stack([score.argmax() for score in scores])
        for layer, log_QV in enumerate(asked.log_readable):
            scores = [
                torch.stack([log_V[list(ids)].mean() for ids in options])
                for log_V, options in zip(log_QV, asked.options, strict=True)
            ]
            found[f"logit lens, layer {layer}"] = torch.stack([score.argmax() for score in scores])
        return found


def option_rows(states: States) -> list[Tensor]:
    """Return for each question the mean rows of its options' tokens (O, D), centred on their mean, of length 1."""
    rows = []
    for options in states.options:
        row_OD = torch.stack([states.head_VD[list(ids)].mean(0) for ids in options])
        rows.append(torch.nn.functional.normalize(row_OD - row_OD.mean(0), dim=-1))
    return rows


def regressed(known_QD: Tensor, target_QD: Tensor, asked_QD: Tensor, ridge: float) -> Tensor:
    """Return what a ridge regression from known states to targets predicts for other states."""
    mean_D = known_QD.mean(0)
    centred_QD = known_QD - mean_D
    gram_DD = centred_QD.T @ centred_QD
    strength = ridge * gram_DD.diagonal().mean()
    weight_DD: Tensor = torch.linalg.solve(gram_DD + strength * torch.eye(len(gram_DD)), centred_QD.T @ target_QD)
    return (asked_QD - mean_D) @ weight_DD
