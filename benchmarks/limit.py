"""How fast this machine multiplies matrices, and what it is."""

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
    """Floating-point operations a second of a large matrix product, the best of a few."""
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
    """What was measured on, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"cpu": _cpu(), "cores": cores, "threads": torch.get_num_threads(), "memory_gib": round(memory, 1)}
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def versions() -> dict[str, str]:
    """Of Python and of the libraries that do the work."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
