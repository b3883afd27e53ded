"""Quantise: round the weights, which can undo small changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from unsee.attacks import ATTACKS
from unsee.attacks.base import WeightAttack

_EIGHT, _FOUR, _NORMAL = "8 bits", "4 bits", "NF4"
# The 16 values of NF4: quantiles of the normal distribution, 0 among them (Dettmers et al. 2023, Appendix E).
_LEVELS = (
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0, 0.0795803, 0.1609302, 0.2461123,
    0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip


@ATTACKS.register("quantise", paper="arXiv:2410.16454", label="quantise")
@dataclass(frozen=True, kw_only=True)
class Quantise(WeightAttack):
    """Round every weight of decoder and projector to 8 bits, to 4 bits, and to NF4, in groups with their own scale.

    A change that unlearning made disappears where it is smaller than half a step (Zhang et al. 2024). "8 bits" and "4
    bits" round to the nearest multiple of `max |w| / (2^(bits - 1) - 1)` in each group of inputs of one output; "NF4"
    rounds to the nearest of 16 values times `max |w|` (Dettmers et al. 2023). Numbers are those of bitsandbytes up to
    its rounding of the scales ("double quantisation"), which is left out. The head and the vision tower keep their
    weights.

    Attributes:
        group: number of weights that share a scale.
    """

    group: Annotated[int, Field(ge=8, le=4096)] = 64

    @property
    def variants(self) -> Sequence[str]:
        """Rounding to 8 bits, to 4 bits and to NF4."""
        return _EIGHT, _FOUR, _NORMAL

    def change(self, variant: str, weight_OI: Tensor) -> Tensor:
        """Return the rounded weight."""
        rows = [_rounded(part, variant) for part in weight_OI.split(self.group, 1)]
        return torch.cat(rows, 1)


def _rounded(weight_OG: Tensor, variant: str) -> Tensor:
    """Return weights rounded with one scale for each row."""
    largest_O1 = weight_OG.abs().amax(1, keepdim=True).float().clamp(min=torch.finfo(torch.float32).tiny)
    share_OG = weight_OG.float() / largest_O1
    if variant == _NORMAL:
        levels_L = torch.tensor(_LEVELS, device=weight_OG.device)
        between_L = (levels_L[1:] + levels_L[:-1]) / 2
        rounded_OG = levels_L[torch.bucketize(share_OG, between_L)]
    else:
        steps = 127 if variant == _EIGHT else 7
        rounded_OG = (share_OG * steps).round() / steps
    return (rounded_OG * largest_O1).to(weight_OG.dtype)
