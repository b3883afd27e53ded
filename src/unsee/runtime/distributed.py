"""Shares work between the processes that `accelerate launch` starts, and gathers their results.

With one process every function returns its argument.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, gather_object, pad_across_processes
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from unsee.core.errors import ConfigError
from unsee.core.record import NullRecord, Record

LONGEST_WAIT = timedelta(hours=4)  # the other processes wait while the main process downloads or builds data

Key = TypeVar("Key")
Value = TypeVar("Value")


def state() -> PartialState:
    """Return accelerate's state: number of processes, index and device of this one (the CPU without an accelerator).

    Raises:
        ConfigError: `accelerate launch` was told to use DeepSpeed.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":  # set by `accelerate launch`
        raise ConfigError(
            "DeepSpeed is not supported; use FSDP: accelerate launch --config_file fsdp.yaml -m unsee ..."
        )
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_WAIT)


def create_record(folder: Path, config: str) -> Record:
    """Create or reopen the run's folder; only the main process writes to it.

    Args:
        folder: the run's folder.
        config: the resolved config as TOML.

    Raises:
        RecordError: as `Record.create`.
    """
    with state().main_process_first():
        return Record.create(folder, config) if state().is_main_process else NullRecord(folder)


def open_record(folder: Path) -> Record:
    """Open the folder of a run that another process has started; only the main process writes to it.

    Raises:
        RecordError: as `Record.open`.
    """
    return Record.open(folder) if state().is_main_process else NullRecord(folder)


def decided(decide: Callable[[], Value]) -> Value:
    """Return the main process's decision in every process; the others do not decide."""
    here = state()
    if here.num_processes == 1:
        return decide()
    decision: list[Value] = [decide()] if here.is_main_process else [None]  # type: ignore[list-item]
    broadcast_object_list(decision)
    return decision[0]


def share(work: Sequence[Value]) -> Sequence[Value]:
    """Return this process's part of the work: every n-th piece, so that pieces sorted by size are spread evenly."""
    return work[state().process_index :: state().num_processes]


def union(own: dict[Key, Value]) -> dict[Key, Value]:
    """Merge the dictionaries of all processes; no key may occur in two of them."""
    parts: list[dict[Key, Value]] = gather_object([own])
    return {key: value for part in parts for key, value in part.items()}


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, which may differ in number; only this process's rows carry a gradient."""
    here = state()
    if here.num_processes == 1:
        return rows
    lengths = gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    padded: Tensor = gather(pad_across_processes(rows.detach()))
    parts = [part[:length] for part, length in zip(padded.chunk(here.num_processes), lengths, strict=True)]
    parts[here.process_index] = rows
    return torch.cat(parts)


def entire(values: Tensor | float) -> Tensor:
    """Return the values as one whole tensor, gathered if FSDP has divided it; every process must call this."""
    if not isinstance(values, Tensor):
        return torch.tensor(values)
    return (values.full_tensor() if isinstance(values, DTensor) else values).detach()


def placed_like(other: Tensor, tensor: Tensor) -> Tensor:
    """Move a tensor to the device of `other`, and divide it over processes as FSDP has divided `other`."""
    if isinstance(other, DTensor) and tensor.shape == other.shape:
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor.to(other.device)
