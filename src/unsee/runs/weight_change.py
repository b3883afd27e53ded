"""How much of a model a method changed: of what size the change is, and how many numbers it touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from unsee.edits.edit import Edit
from unsee.models.vlm import VLM
from unsee.runtime.distributed import entire

_A, _B = ".lora_A.", ".lora_B."


@dataclass(frozen=True)
class Change:
    """What was changed.

    Attributes:
        relative: length of the change as a share of the length of all parameters of the model.
        parameters: how many of them differ from before.
    """

    relative: float
    parameters: int


@torch.no_grad()
def change_of(vlm: VLM, moved: Iterator[Tensor]) -> Change:
    """The change of a model, one difference after another: there is never a second copy of it.

    Args:
        vlm: the model as it was.
        moved: the difference of each changed matrix.
    """
    whole = sum(float(entire(parameter.detach()).float().square().sum()) for parameter in vlm.model.parameters())
    squares, count = 0.0, 0
    for difference in moved:
        squares += float(difference.float().square().sum())
        count += int(difference.count_nonzero())
    return Change((squares / whole) ** 0.5, count)


def by_edit(path: Path) -> Iterator[Tensor]:
    """The differences that an edit makes."""
    yield from Edit.load(path).deltas.values()


def by_weights(vlm: VLM, path: Path) -> Iterator[Tensor]:
    """The differences between trained weights in a file and the model as it was."""
    before = dict(vlm.model.named_parameters())
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (the file is no mapping)
            yield file.get_tensor(name).float() - entire(before[name].detach()).float().cpu()


def by_adapter(path: Path, scale: float) -> Iterator[Tensor]:
    """The differences that a LoRA adapter in a file makes: the scaled products of its factors."""
    with safe_open(path, "pt") as file:
        tensors: Mapping[str, Tensor] = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    for name, right in tensors.items():
        if _A in name:
            yield scale * tensors[name.replace(_A, _B)] @ right
