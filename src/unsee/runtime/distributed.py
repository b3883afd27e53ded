"""Several processes as one, started by `accelerate launch`: each takes its share of the work and all know the whole.

With one process every function here gives back what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather, gather_object, pad_across_processes
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

LONGEST_WAIT = timedelta(hours=4)  # while the main process fetches or makes data, the others wait

Key = TypeVar("Key")
Value = TypeVar("Value")


def state() -> PartialState:
    """The processes, their devices and which of them this is; on a machine without accelerators they share the CPU."""
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_WAIT)


def share(work: Sequence[Value]) -> Sequence[Value]:
    """The part of the work that is this process's: every n-th piece, so that pieces sorted by size go round evenly."""
    return work[state().process_index :: state().num_processes]


def union(found: dict[Key, Value]) -> dict[Key, Value]:
    """What all processes found, each under keys of its own."""
    parts: list[dict[Key, Value]] = gather_object([found])
    return {key: value for part in parts for key, value in part.items()}


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, of which each may have any number; only the own ones carry a gradient."""
    here = state()
    if here.num_processes == 1:
        return rows
    lengths = gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    padded: Tensor = gather(pad_across_processes(rows.detach()))
    parts = [part[:length] for part, length in zip(padded.chunk(here.num_processes), lengths, strict=True)]
    parts[here.process_index] = rows
    return torch.cat(parts)


def entire(values: Tensor | float) -> Tensor:
    """The values themselves, or all of a tensor that lies divided over the processes (FSDP, ZeRO 3); all must ask."""
    if not isinstance(values, Tensor):
        return torch.tensor(values)
    if isinstance(values, DTensor):
        return values.full_tensor().detach()
    if not is_divided(values):
        return values.detach()
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters([values]):
        return values.detach().clone()


def is_divided(tensor: Tensor) -> bool:
    """Whether each process has a part of it only."""
    return isinstance(tensor, DTensor) or hasattr(tensor, "ds_id")


def placed_like(other: Tensor, tensor: Tensor) -> Tensor:
    """A tensor on the device of another and, where that is divided and of the same shape, divided as it is."""
    if isinstance(other, DTensor) and tensor.shape == other.shape:
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor.to(other.device)
