"""Measures time and peak memory of a piece of work."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_FORGET_PEAK = Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """Time and memory of a piece of work; both are 0 until it ends.

    Attributes:
        seconds: wall time.
        peak_bytes: peak memory of the process during the work: GPU memory if it runs on a GPU, else resident memory.
            Only Linux can reset the peak; other systems report the highest value since the process started.
    """

    seconds: float = 0.0
    peak_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both, one after the other."""
        return Cost(round(self.seconds + other.seconds, 2), max(self.peak_bytes, other.peak_bytes))


@contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure time and peak memory of the block."""
    cost = Cost()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _FORGET_PEAK.write_text("5")  # Linux: resets the peak of resident memory
    started = time.monotonic()
    try:
        yield cost
    finally:
        cost.seconds = round(time.monotonic() - started, 2)
        cost.peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident()


def _resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # in bytes on macOS, in KiB elsewhere
