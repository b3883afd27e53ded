"""The content of signal.json: does the target know of the people to forget what the oracle does not?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from pydantic import Field

from unsee.core.record import MIN_UNITS
from unsee.scoring.intervals import Estimate
from unsee.scoring.record_file import RecordFile, Strict

_TASKS = {"classification": "choices", "cloze": "blanks", "generation": "sentences"}
"""Tasks in plain words; of the first one that was asked, the floor says most reliably what a model knows."""
_FLOORS = {"classification": "chance", "cloze": "chance", "generation": "with others' facts"}


class CellName(NamedTuple):
    """A set, a task and an input."""

    set: str
    task: str
    input: str


class SignalCell(Strict):
    """Target against oracle in one cell.

    Attributes:
        difference: target minus oracle.
        chance: as in `Cell`.
        floor: as in `Cell`.
        signal: True if the whole interval of the difference is above 0.
    """

    set: str
    task: str
    input: str
    metric: str
    target: Estimate
    oracle: Estimate
    difference: Estimate
    n_units: int
    chance: float | None = None
    floor: float | None = None
    signal: bool

    def above_floor(self, model: Estimate) -> bool:
        """Return True if a model knows something: its whole interval lies above a guess, or above the right wording."""
        nothing = self.floor if self.chance is None else self.chance
        return nothing is not None and model.low > nothing


class Signal(RecordFile):
    """The content of signal.json: target against oracle on the forget and the test set.

    Attributes:
        signal: True if at least one cell of the forget set has signal; without it nothing is ranked.
    """

    version: Literal["unsee.signal/1"] = Field(default="unsee.signal/1", alias="schema")
    signal: bool
    cells: list[SignalCell]

    @property
    def reason(self) -> str:
        """The reason why there is no signal, as a clause; "" if there is signal."""
        if self.signal:
            return ""
        cells = [cell for cell in self.cells if cell.set == "forget"]
        people = max((cell.n_units for cell in cells), default=0)
        if people < MIN_UNITS:
            return f"{people} people to forget are too few to tell target from oracle; at least {MIN_UNITS} are needed"
        told = next(own for task in _TASKS if (own := [cell for cell in cells if cell.task == task]))
        learned = [cell for cell in told if cell.above_floor(cell.target)]
        if not learned:
            return (
                f"the target did not learn the people to forget ({_figures(cells)}); raise teach.steps or "
                "teach.learning_rate"
            )
        if any(cell.above_floor(cell.oracle) for cell in learned):
            return (
                f"the oracle answers about the people to forget like the target, though it was not taught them "
                f"({_figures(cells)}); the base model knows them or one can guess their facts, so take other people"
            )
        return (
            f"the target learned too little of the people to forget to tell it from the oracle ({_figures(cells)}); "
            "raise teach.steps or teach.learning_rate, or forget more people"
        )

    def names(self, set_name: str) -> list[CellName]:
        """Return the cells of a set that have signal."""
        return [CellName(c.set, c.task, c.input) for c in self.cells if c.set == set_name and c.signal]


def _figures(cells: Sequence[SignalCell]) -> str:
    """Return the means of target, oracle and floor over the inputs of each task."""
    told = []
    for task, plural in _TASKS.items():
        if own := [cell for cell in cells if cell.task == task]:
            floors = [
                floor for cell in own if (floor := cell.floor if cell.chance is None else cell.chance) is not None
            ]
            numbers = {
                "target": fmean(cell.target.value for cell in own), "oracle": fmean(cell.oracle.value for cell in own),
            } | ({_FLOORS[task]: fmean(floors)} if floors else {})  # fmt: skip
            told.append(f"{plural}: {', '.join(f'{name} {value:.2f}' for name, value in numbers.items())}")
    return "; ".join(told)
