"""Runs `unsee` as a user types it: in this process, or in one of its own where it is stopped, killed or watched.

A fork server imports the program once; every process is a fresh fork of it.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import forks
import psutil
import pytest

from unsee.cli import main
from unsee.scoring.schema import Scores


@dataclass(frozen=True)
class Stop:
    """A signal that the process sends to itself.

    Attributes:
        at: the function at whose call it does so, "module:name" or "module:class.name".
        call: at which call, counted from 1.
        sent: SIGKILL leaves no code time to tidy up; SIGINT is Ctrl-C.
    """

    at: str
    call: int = 1
    sent: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Finished:
    """What is left of a command: its exit code (negative: the signal that ended its process) and what it printed."""

    code: int
    out: str
    err: str


def unsee(
    arguments: Sequence[str], cache: Path, stop: Stop | None = None, plugins: Path | None = None
) -> Finished:  # fmt: skip
    """Run one command to its end, with its own cache; in this process, unless it is stopped or needs plug-ins.

    Args:
        plugins: a folder, put where PYTHONPATH puts it.
    """
    if stop is plugins is None:
        return _here(arguments, cache)
    return Command(arguments, cache, stop, plugins).finished()


def _here(arguments: Sequence[str], cache: Path) -> Finished:
    out, err, log = io.StringIO(), io.StringIO(), logging.getLogger()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNSEE_CACHE", str(cache))
        patched.setattr(log, "handlers", [])  # the command hangs up its own
        code = main([*map(str, arguments)])
    return Finished(code, out.getvalue(), err.getvalue())


class Command:
    """A command that runs while the test goes on."""

    def __init__(
        self, arguments: Sequence[str], cache: Path, stop: Stop | None = None, plugins: Path | None = None,
        name: str = "", variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.arguments = list(map(str, arguments))
        self.out, self.err = cache.with_suffix(f"{name}.out"), cache.with_suffix(f"{name}.err")
        for path in (self.out, self.err):
            path.write_bytes(b"")  # a process may be killed before it comes to this
        self.process = forks.process(
            _command, (self.arguments, cache, self.out, self.err, stop, plugins, dict(variables))
        )
        self.process.start()

    def workers(self) -> list[psutil.Process]:
        """Its worker processes; none once it has ended."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            servers = [one for one in children if "forkserver" in " ".join(one.cmdline())]
            return [worker for server in servers for worker in server.children()]
        return []

    def finished(self, seconds: float = 600) -> Finished:
        """Wait for its end."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"unsee {self.arguments}: not done after {seconds} s")
        return Finished(self.process.exitcode, self.out.read_text(), self.err.read_text())


def _command(
    arguments: list[str], cache: Path, out: Path, err: Path, stop: Stop | None, plugins: Path | None,
    variables: dict[str, str],
) -> None:  # fmt: skip
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(variables, UNSEE_CACHE=str(cache))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of the tests ignores it, and so would we
    if plugins:
        sys.path.insert(0, str(plugins))
    if stop:
        _arm(stop)
    sys.exit(main(arguments))


def _arm(stop: Stop) -> None:
    module, _, path = stop.at.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), 0

    def stopping(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == stop.call:
            os.kill(os.getpid(), stop.sent)
        return original(*arguments, **options)

    setattr(owner, name, stopping)


def scores_but_for_cost(folder):
    """The scores of a run without what making the models took, which differs from run to run."""
    scores = Scores.load(folder, "scores.json")
    cost = dict.fromkeys(("seconds", "peak_bytes", "forward_passes", "backward_passes"))  # a stopped stage passes again
    methods = [method.model_copy(update=cost) for method in scores.methods]
    return scores.model_copy(update={"methods": methods})
