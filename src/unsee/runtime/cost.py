"""What a piece of work took: seconds, and the most memory it needed at once."""

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
    """Filled in when the work ends.

    Attributes:
        seconds: of wall time.
        peak_bytes: the most memory the process held while it worked, on the GPU where it works on one; where the system
            cannot forget an earlier peak, the highest so far.
    """

    seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure what happens in the block."""
    cost = Cost()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _FORGET_PEAK.write_text("5")  # Linux: the highest resident size starts anew
    started = time.monotonic()
    try:
        yield cost
    finally:
        cost.seconds = round(time.monotonic() - started, 2)
        cost.peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident()


def _resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # which counts kibibytes elsewhere
