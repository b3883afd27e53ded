"""The content of signal.json and scores.json, for runs about people and about documents; see `docs/scores.md`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from unsee.config.tables import Kind
from unsee.core.record import METRIC_COLUMNS, Better
from unsee.scoring.intervals import Estimate
from unsee.scoring.record_file import RecordFile, Strict

MIN_UNITS = 5  # of two, both differ by chance in one cell of four, and then so does every resample
DO_NOTHING, RANDOM_WEIGHTS = "do_nothing", "random_weights"
CONTROLS: dict[Kind, tuple[str, ...]] = {
    "people": ("target", "oracle", DO_NOTHING, RANDOM_WEIGHTS),
    "documents": (DO_NOTHING, RANDOM_WEIGHTS),
}
"""The models that frame the scores of a run and are no attempt to change anything."""

DOCUMENTS_METRICS = ("eta", "rta", "over_refusal", "leak_rate", "benign_correct", "general")
"""The metrics of a run about documents, in the order of reports."""

MethodVerdict = Literal["ok", "no signal", "collapsed"]


class CellName(NamedTuple):
    """A set, a task and an input."""

    set: str
    task: str
    input: str


class ChangeAndCost(NamedTuple):
    """How far a method changed the weights, and what that took; the fields of `MethodScore` of the same names."""

    relative_change: float
    changed_parameters: int
    seconds: float | None = None
    peak_bytes: int | None = None


class SignalCell(Strict):
    """Target against oracle in one cell; `signal` where the whole interval of target - oracle is above 0.

    `chance` and `floor` are those of `Cell`.
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
        """The reason for no signal, as a clause; empty where there is signal."""
        if self.signal:
            return ""
        people = max((cell.n_units for cell in self.cells if cell.set == "forget"), default=0)
        if people < MIN_UNITS:
            return f"{people} people to forget are too few to tell target from oracle; at least {MIN_UNITS} are needed"
        return "target and oracle do not differ"

    def names(self, set_name: str) -> list[CellName]:
        """Return the cells of a set that have signal."""
        return [CellName(c.set, c.task, c.input) for c in self.cells if c.set == set_name and c.signal]


class Cell(Strict):
    """One metric of one model in one cell.

    Attributes:
        n_units: how many units there are: people or pictures, items in the general set. Intervals resample them.
        chance: expected value of a blind guess; None where there is none.
        floor: the score of another person's answer to the same question; only for ROUGE-L.
        judge: who decided what a refusal is; "" where no refusal is involved.
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
    n_units: int
    n_items: int
    chance: float | None
    floor: float | None = None
    invalid: float
    judge: str = ""


class MethodScore(Strict):
    """One row of the final table. A number is None where nothing with signal was left to compute it from.

    Attributes:
        refused: share of the private questions that are refused; about people, of the free ones on the forget set.
        leaked: share of them whose answer contains the private value; about people, of the blanks.
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
    verdict: MethodVerdict
    reason: str | None = None
    refused: Estimate | None = None
    leaked: Estimate | None = None
    eta: Estimate | None = None
    relative_change: float | None = None
    changed_parameters: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None


class Difference(Strict):
    """First minus second method, on the same resamples and averaged over seeds; both are one method in two ways.

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
    n_units: int


class Agreement(Strict):
    """Agreement of two judges of refusal beyond chance, as Cohen's kappa; None where both always say the same."""

    first: str
    second: str
    kappa: float | None
    num_replies: int


class Scores(RecordFile):
    """The content of scores.json.

    Attributes:
        kind: what the run is about.
        reason: the reason why nothing is ranked, as a clause; empty where methods are ranked.
        better: the direction of each registered metric.
        cells: every metric of every model in every cell.
        methods: the models themselves.
        differences: between the ways in which one method was used; documents only.
        agreements: between the judges of refusal; documents only.
    """

    version: Literal["unsee.scores/2"] = Field(default="unsee.scores/2", alias="schema")
    kind: Kind
    reason: str = ""
    better: dict[str, Better] = Field(default_factory=dict)
    cells: list[Cell]
    methods: list[MethodScore]
    differences: list[Difference] = Field(default_factory=list)
    agreements: list[Agreement] = Field(default_factory=list)

    @property
    def further_metrics(self) -> list[str]:
        """The metrics of other distributions that have cells, sorted."""
        return sorted({cell.metric for cell in self.cells} - {*METRIC_COLUMNS, *DOCUMENTS_METRICS})


def is_control(kind: Kind, method: str) -> bool:
    """Return True for a model that every run of a kind has, further oracles included."""
    return method in CONTROLS[kind] or (kind == "people" and method.startswith("oracle_"))
