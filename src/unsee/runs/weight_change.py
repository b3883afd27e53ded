"""The size of a change to a model's weights: its norm, and the number of parameters changed."""

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
class WeightChange:
    """The size of a change.

    Attributes:
        relative: norm of the change divided by the norm of all parameters.
        parameters: number of parameters that changed.
    """

    relative: float
    parameters: int


@torch.no_grad()
def change_of(vlm: VLM, deltas: Iterator[Tensor]) -> WeightChange:
    """Return the size of a change. Differences are read one by one, so no second copy of the model is needed.

    Args:
        vlm: the model before the change.
        deltas: the difference of each changed matrix.
    """
    whole = sum(float(entire(parameter.detach()).float().square().sum()) for parameter in vlm.model.parameters())
    squares, count = 0.0, 0
    for delta in deltas:
        squares += float(delta.float().square().sum())
        count += int(delta.count_nonzero())
    return WeightChange((squares / whole) ** 0.5, count)


def by_edit(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the change of an edit to each matrix, by the name of the module or parameter."""
    yield from Edit.load(path).deltas.items()


def by_weights(vlm: VLM, path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the difference between trained weights in a file and the model, by the name of the parameter."""
    before = dict(vlm.model.named_parameters())
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (the file is no mapping)
            yield name, file.get_tensor(name).float() - entire(before[name].detach()).float().cpu()


def by_adapter(path: Path, scale: float) -> Iterator[tuple[str, Tensor]]:
    """Yield the change of a LoRA adapter (the scaled product of its factors), by the name of the module."""
    with safe_open(path, "pt") as file:
        tensors: Mapping[str, Tensor] = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    for name, right in tensors.items():
        if _A in name:
            yield name.partition(_A)[0], scale * tensors[name.replace(_A, _B)] @ right
