"""Depth: in which layers is the value gone?"""

from __future__ import annotations

from dataclasses import dataclass

from unsee.attacks import ATTACKS
from unsee.attacks.base import DepthAttack


@ATTACKS.register("depth", paper="github.com/gnueaj/unlearning-depth-score", label="depth")
@dataclass(frozen=True, kw_only=True)
class Depth(DepthAttack):
    """Put the hidden states of a model into the target, layer by layer, and see what the target still makes of them.

    Gives the unlearning depth score (UDS) of `unsee.scoring.depth`: 0 for states that hold what the target's hold, 1
    for states that hold no more than the oracle's. It is no part of robustness: it is the target that reads the
    states, and nobody who has only the unlearned model can do so.
    """
