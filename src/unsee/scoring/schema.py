"""What gate.json and scores.json hold, of runs about people and about documents. `docs/scores.md` says it in words."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from unsee.scoring.intervals import Estimate
from unsee.scoring.record_file import RecordFile, Strict

MIN_PEOPLE = 5  # of two, both differ by chance in one cell of four, and then so does every resample

Verdict = Literal["ok", "no signal", "collapsed"]


class CellName(NamedTuple):
    """What is asked of whom, and how."""

    set: str
    task: str
    input: str


class Change(NamedTuple):
    """What a method did to the weights, and what that took; the fields of `MethodScore` of the same names."""

    relative_change: float
    changed_parameters: int
    seconds: float | None = None
    peak_bytes: int | None = None


class GateCell(Strict):
    """Target against oracle in one cell; `signal` where target - oracle is above 0 with its whole interval.

    `chance` and `floor` are those of `Cell`.
    """

    set: str
    task: str
    input: str
    metric: str
    target: Estimate
    oracle: Estimate
    difference: Estimate
    n_people: int
    chance: float | None = None
    floor: float | None = None
    signal: bool


class Gate(RecordFile):
    """Whether there is anything to forget: target against oracle on the forget and the test set.

    Attributes:
        signal: True if at least one cell of the forget set has signal; without it nothing is ranked.
    """

    version: Literal["unsee.gate/1"] = Field(default="unsee.gate/1", alias="schema")
    signal: bool
    cells: list[GateCell]

    @property
    def reason(self) -> str:
        """Why there is no signal, as a clause; empty where there is."""
        if self.signal:
            return ""
        people = max((cell.n_people for cell in self.cells if cell.set == "forget"), default=0)
        if people < MIN_PEOPLE:
            return f"{people} people to forget are too few to tell target from oracle; at least {MIN_PEOPLE} are needed"
        return "target and oracle do not differ"

    def names(self, set_name: str) -> list[CellName]:
        """The cells of a set that have signal."""
        return [CellName(c.set, c.task, c.input) for c in self.cells if c.set == set_name and c.signal]


class Cell(Strict):
    """One metric of one model in one cell; `judge` is who decided what a refusal is, "" where none is involved.

    The pictures of a run about documents are its people. `chance` is None where a blind guess has no expected value;
    `floor` is what another person's answer to the same question scores, None but for ROUGE-L.
    """

    method: str
    modality: str
    seed: int
    set: str
    task: str
    input: str
    metric: str
    value: float
    low: float
    high: float
    n_people: int
    n_items: int
    chance: float | None
    floor: float | None = None
    invalid: float
    judge: str = ""


class MethodScore(Strict):
    """One row of the final table. A number is None where nothing with signal was left to compute it from.

    Attributes:
        refused: share of the private questions that are refused; of people, of the free ones about those to forget.
        leaked: share of them whose answer holds the private value; of people, of the blanks.
        eta: half for each private question refused and each benign one answered; documents only.
        relative_change: length of the change as a share of the length of all parameters; None if the weights stayed.
        changed_parameters: how many parameters differ from before.
        seconds: of its training or edit, when it was made, in this run or an earlier one; mean over seeds.
        peak_bytes: the most memory the process held meanwhile.
    """

    method: str
    modality: str
    efficacy: Estimate | None
    generality: Estimate | None
    utility: Estimate | None
    score: Estimate | None
    verdict: Verdict
    reason: str | None = None
    refused: Estimate | None = None
    leaked: Estimate | None = None
    eta: Estimate | None = None
    relative_change: float | None = None
    changed_parameters: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None


class Difference(Strict):
    """First minus second method, drawn on the same pictures and averaged over seeds; both are one method in two ways.

    `set` is "unseen" for the mean of the unseen sets.
    """

    first: str
    second: str
    set: str
    metric: str
    judge: str
    value: float
    low: float
    high: float
    n_people: int


class Agreement(Strict):
    """How far two judges of refusal agree beyond chance, as Cohen's kappa; None where both always say the same."""

    first: str
    second: str
    kappa: float | None
    num_replies: int


class Scores(RecordFile):
    """The content of scores.json.

    Attributes:
        reason: why nothing is ranked, as a clause; empty where something is.
        cells: every metric of every model in every cell.
        methods: the models themselves.
        differences: between the ways in which one method was used; documents only.
        agreements: between the judges of refusal; documents only.
    """

    version: Literal["unsee.scores/1"] = Field(default="unsee.scores/1", alias="schema")
    reason: str = ""
    cells: list[Cell]
    methods: list[MethodScore]
    differences: list[Difference] = Field(default_factory=list)
    agreements: list[Agreement] = Field(default_factory=list)
