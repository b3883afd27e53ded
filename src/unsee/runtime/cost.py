"""Measures time, peak memory and passes through the model of a piece of work."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

_FORGET_PEAK = Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """Time, memory and passes of a piece of work; time and memory are 0 until it ends.

    Attributes:
        seconds: wall time.
        peak_bytes: peak memory of the process during the work: GPU memory if it runs on a GPU, else resident memory.
            Only Linux can reset the peak; other systems report the highest value since the process started.
        forward_passes: forward passes of a batch through the last layer of the decoder, whatever the size of the batch.
        backward_passes: how many of them a gradient went back through, at least in part.
    """

    seconds: float = 0.0
    peak_bytes: int = 0
    forward_passes: int = 0
    backward_passes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both, one after the other."""
        return Cost(
            round(self.seconds + other.seconds, 2),
            max(self.peak_bytes, other.peak_bytes),
            self.forward_passes + other.forward_passes,
            self.backward_passes + other.backward_passes,
        )


@contextmanager
def measured(device: torch.device, layers: Sequence[nn.Module] = ()) -> Iterator[Cost]:
    """Measure time and peak memory of the block, and the passes through the layers of a decoder, in their order."""
    cost = Cost()
    hooks = _count(cost, layers)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _FORGET_PEAK.write_text("5")  # Linux: resets the peak of resident memory
    started = time.monotonic()
    try:
        yield cost
    finally:
        for hook in hooks:
            hook.remove()
        cost.seconds = round(time.monotonic() - started, 2)
        cost.peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident()


def _count(cost: Cost, layers: Sequence[nn.Module]) -> list[RemovableHandle]:
    """Count the forward passes that reach the last layer, and those of them that a gradient goes back through.

    The gradient may begin below the last layer, as that of a loss on hidden states does.
    """
    gone_back: set[int] = set()

    def came_back(number: int) -> None:
        if number not in gone_back:
            gone_back.add(number)
            cost.backward_passes += 1

    def passed(layer: nn.Module, _: object, output: Any) -> None:
        number = cost.forward_passes
        first = output[0] if isinstance(output, tuple) else output
        if first.requires_grad:
            first.register_hook(lambda _: came_back(number))
        cost.forward_passes += layer is layers[-1]

    return [layer.register_forward_hook(passed) for layer in layers]


def _resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # in bytes on macOS, in KiB elsewhere
