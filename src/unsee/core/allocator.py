"""Keeps the memory that training frees: on glibc a step of the nano model is five times faster for it."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

TOP_PAD_BYTES = 256 * 2**20

# glibc's names and numbers (malloc.h): never map a block apart, never give memory back, grow in large steps.
_SETTINGS = {-4: 0, -1: -1, -2: TOP_PAD_BYTES}


@cache
def settle() -> bool:
    """Tell glibc to keep freed memory instead of returning it and faulting it in again; elsewhere do nothing.

    It concerns the whole process, so importing the package does not do it: the command line and the model loader do,
    before the first large allocation.

    Returns:
        Whether the allocator took every setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) == 1 for option, value in _SETTINGS.items())
