"""Measuring one side of one work in a process of its own: seconds, added memory and tokens.

Each process is forked from one that has imported everything, and loads model and data before it is measured. Seconds
are those of the work alone. Memory is the highest resident size during the work minus that at its start (on a GPU, of
allocated memory). Tokens are those that pass through the decoder, including padding, because padding costs as much.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.material import Material
from benchmarks.works import Collect, SideName, works

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["benchmarks.preload"])
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured:
    """Cost and answers of one side of one work.

    Attributes:
        seconds: seconds of the work, without loading.
        peak_mib: memory added at the peak, MiB.
        tokens: tokens that passed through the decoder; 0 if it is not called in this process.
        flops: floating-point operations of matrix products and attention; 0 if they were not counted.
        answers: the results that both sides must agree on; None if operations were counted.
    """

    seconds: float
    peak_mib: float
    tokens: int
    flops: int
    answers: Any = None


def measure(work: str, side: SideName, material: Material, *, count: bool = False) -> Measured:
    """Do one side of one work once, in a process of its own.

    Args:
        work: short name of the work.
        side: the side that does it.
        material: the model and the data.
        count: count operations. This slows the work down, so its seconds mean nothing.

    Raises:
        RuntimeError: the process ended without a result.
    """
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_child, args=(sender, work, side, material, count))
    process.start()
    sender.close()
    try:
        result: Measured = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{work} ({side}): its process ended with code {process.exitcode}") from None
    process.join()
    return result


def _child(sender: Connection, work: str, side: SideName, material: Material, count: bool) -> None:
    from unsee.runtime.quiet import hush

    hush()
    sender.send(measure_here(work, side, material, count=count))


def measure_here(work: str, side: SideName, material: Material, *, count: bool = False) -> Measured:
    """Do the same as `measure` in this process."""
    cost, collect = timed(work, side, material, count=count)
    return cost if count else replace(cost, answers=collect())


def timed(work: str, side: SideName, material: Material, *, count: bool = False) -> tuple[Measured, Collect]:
    """Do the work; return its cost, and the function that collects its answers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

    job = works()[work].sides[side](material)
    counter = FlopCounterMode(display=False)
    counter.flop_registry |= {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
    }  # torch counts attention on a GPU only
    start = _start_of_peak()
    with _Tokens() as tokens:
        started = time.perf_counter()
        if count:
            with counter:
                collect = job()
        else:
            collect = job()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    peak = max(0, _peak() - start) / 2**20
    return Measured(seconds, peak, tokens.count, counter.get_total_flops() if count else 0), collect


class _Tokens:
    """Counter of the tokens that the first decoder layer of any model is called with."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _Tokens:
        from torch.nn.modules.module import register_module_forward_hook

        self._handle = register_module_forward_hook(self._look)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _look(self, module: Any, arguments: Any, output: Any) -> None:
        attention = getattr(module, "self_attn", None)
        if getattr(attention, "layer_idx", None) == 0 and getattr(attention, "is_causal", False):
            first = output[0] if isinstance(output, tuple) else output
            self.count += int(first.shape[0] * first.shape[1])


def _start_of_peak() -> int:
    """Reset the highest size, and return the present size in bytes, without memory that was freed before."""
    import torch

    gc.collect()
    _give_back()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
        return _kib("VmRSS") * 1024
    return _peak()


def _give_back() -> None:
    """Return freed memory to the system. Otherwise the work would reuse what its preparation freed, at no cost."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _peak() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if _STATUS.exists():
        return _kib("VmHWM") * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _kib(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
