"""The speed of this machine's matrix product, and a description of the machine."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "unsee")
SIDE = {"cpu": 2048, "cuda": 8192}
ROUNDS = 5


def product_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return the floating-point operations per second of a large matrix product, the best of a few rounds."""
    side = SIDE[device.type]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first one warms up
        started = time.perf_counter()
        product = one @ other
        product[0, 0].item()  # waits for a GPU
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def machine() -> dict[str, object]:
    """Describe the machine (processor, memory, GPU) without its host name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    description = {"cpu": _cpu(), "cores": cores, "threads": torch.get_num_threads(), "memory_gib": round(memory, 1)}
    return description | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that do the work."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
