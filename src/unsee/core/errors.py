"""Every error a user can cause, as one tree.

UnseeError
├── ConfigError       a recipe, option or command line that cannot be run
│   └── UnknownNameError   a name that is not known; the message gives the most similar one
├── DataError         a data folder, row or image that cannot be read
├── ModelError        a model folder that cannot be loaded, or a training that diverged to NaN or infinity
├── RecordError       a folder of a run or of a result that cannot be read or written
└── JudgeError        a judge that refuses or cannot be reached
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from unsee.core.text import one_line

SHOWN = 20
"""Faults that one message shows."""


class UnseeError(Exception):
    """An error of the user, with exit code 2.

    The message says where the error is, what is wrong, what is allowed or most similar, and what to do.
    """


class ConfigError(UnseeError):
    """A recipe, option or command line that cannot be run."""


class DataError(UnseeError):
    """A data folder, row or image that cannot be read."""


class ModelError(UnseeError):
    """A model folder that cannot be loaded, or a training that diverged to NaN or infinity."""


class RecordError(UnseeError):
    """A folder of a run or of a result that cannot be read or written."""


class JudgeError(UnseeError):
    """A judge that refuses or cannot be reached."""


class UnknownNameError(ConfigError):
    """A name that is not known; the message gives the most similar one.

    Args:
        where: place of the name, as the user wrote it ("method", "method.npo.betta").
        name: the unknown name.
        known: every allowed name.
    """

    def __init__(self, where: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"{where}: unknown name '{name}'{did_you_mean(name, names)} (known: {', '.join(names) or 'none'})"
        )


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence that suggests the most similar known name; "" if none is similar."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def first_line(error: BaseException) -> str:
    """Return what another library's error says, for a sentence: its first line, or its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def several(faults: Sequence[str]) -> str:
    """Return one message about one or more faults: up to twenty, each on a line of its own, and how many more."""
    rows = [one_line(fault) for fault in faults[:SHOWN]]
    if len(faults) == 1:
        return rows[0]
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "\n  ".join([f"{len(faults)} problems", *rows, *more])
