"""Processes that are forks of a server that has imported the program."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["warm"])


def process(target: Callable[..., Any], arguments: tuple[Any, ...]) -> BaseProcess:
    """A process that has not started yet."""
    _start_server()
    return context.Process(target=target, args=arguments)


@cache
def _start_server() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # where `warm` is
        forkserver.ensure_running()
