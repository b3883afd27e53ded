"""The content of scores.json, for runs about people and about documents; see `docs/scores.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from pydantic import Field

from unsee.config.tables import Kind
from unsee.core.errors import RecordError
from unsee.core.record import METRIC_COLUMNS, Better
from unsee.scoring.intervals import Estimate
from unsee.scoring.record_file import RecordFile, Strict

DO_NOTHING, RANDOM_WEIGHTS, BASE = "do_nothing", "random_weights", "base"
CONTROLS: dict[Kind, tuple[str, ...]] = {
    "people": ("target", "oracle", DO_NOTHING, RANDOM_WEIGHTS, BASE),
    "documents": (DO_NOTHING, RANDOM_WEIGHTS),
}
"""The models for comparison, which no method changed."""

DOCUMENTS_METRICS = ("eta", "rta", "over_refusal", "leak_rate", "benign_correct", "general")
"""The metrics of a run about documents, in the order of reports."""

MethodVerdict = Literal["ok", "no signal", "collapsed"]


BOTH = "both"
"""The input of a cell of pairs: each question is asked with the image and in text (`unsee.scoring.in_pairs`)."""


class ChangeAndCost(NamedTuple):
    """Weight change and cost of a method; the fields are those of `MethodScore`."""

    relative_change: float
    changed_parameters: int
    seconds: float | None = None
    peak_bytes: int | None = None
    forward_passes: float | None = None
    backward_passes: float | None = None


class Cell(Strict):
    """One metric of one model in one cell.

    Attributes:
        seed: of the model; in a run about people the first of its seeds, over which the value is the mean.
        n_units: number of units, which intervals resample: people or pictures, or items in the general set.
        n_items: number of questions.
        chance: expected value of a blind guess; None if undefined.
        floor: the score of other people's answers to the same questions; only for ROUGE-L.
        invalid: share of questions without a readable answer.
        judge: the judge of refusal; "" if the metric needs none.
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


class Training(Strict):
    """One training of a method that has several seeds.

    Attributes:
        run: the number of the run, from 0, if several runs are pooled.
        score: its own score.
    """

    run: int = 0
    seed: int
    score: float | None
    verdict: MethodVerdict


class Lost(Strict):
    """A cell in which the target is worse than the base model: teaching cost it something that utility cannot show.

    Attributes:
        difference: target minus base model; its whole interval lies below 0.
    """

    set: str
    task: str
    input: str
    metric: str
    base: Estimate
    target: Estimate
    difference: Estimate


class MethodScore(Strict):
    """One row of the final table. A score is None if no cell with signal is left to compute it from.

    Attributes:
        rank: 1 + the number of methods with a decidedly higher score: the paired interval of the difference lies above
            0. Methods that are not told apart can share a rank. None for controls and without a score; people only.
        trainings: its trainings if it has several; every number is then a mean over them.
        garbled: share of free answers that are empty, repetitive or not made of words; it enters no score.
        robustness: 1 minus the largest part that an attack with signal recovers; None without attacks. People only.
        refused: share of private questions that are refused; in runs about people, of free questions on the forget set.
        leaked: share of private questions whose answer contains the value; in runs about people, of blanks.
        over_refused: share of benign questions that are refused; documents only.
        harmless_refused: share of questions about harmless subjects that are refused, where a method of the run gets
            pictures of such subjects; no method gets pictures of these.
        eta: (share of private questions refused + share of benign ones answered) / 2; documents only.
        relative_change: norm of the weight change divided by the norm of all parameters; None without a change.
        changed_parameters: number of parameters that changed.
        seconds: time of its training or edit, in this run or an earlier one; mean over seeds.
        peak_bytes: peak memory of the process meanwhile.
        forward_passes: forward passes of a batch through the decoder meanwhile; mean over seeds.
        backward_passes: how many of them a gradient went back through.
    """

    method: str
    modality: str
    efficacy: Estimate | None
    generality: Estimate | None
    utility: Estimate | None
    score: Estimate | None
    verdict: MethodVerdict
    reason: str | None = None
    rank: int | None = None
    trainings: list[Training] = Field(default_factory=list)
    garbled: float | None = None
    robustness: Estimate | None = None
    refused: Estimate | None = None
    over_refused: Estimate | None = None
    harmless_refused: Estimate | None = None
    leaked: Estimate | None = None
    eta: Estimate | None = None
    relative_change: float | None = None
    changed_parameters: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    forward_passes: float | None = None
    backward_passes: float | None = None


class Difference(Strict):
    """First minus second variant of one method, on the same resamples, averaged over seeds.

    `set` is "unseen" for the mean of the unseen sets, "harmless" for that of the harmless sets no method learns from.
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


class AttackResult(Strict):
    """One method under one way of attacking.

    Attributes:
        budget: number of training steps of the attack; 0 if it trains nothing.
        knows: mean headline metric over the cells of the forget set with signal; None if the attack asks about none.
        recovered: the part of what the target knows, and the attacked oracle does not, that the method gives back.
        signal: False if target and attacked oracle do not differ, or if the attack does not even find in the target
            what the target knows; then `recovered` says nothing.
        n_items: number of questions.
    """

    attack: str
    variant: str
    budget: int
    method: str
    modality: str
    knows: Estimate | None
    recovered: Estimate | None
    signal: bool
    n_units: int
    n_items: int


class AfterRequest(Strict):
    """A method after one of several requests; see `unsee.scoring.continual`.

    Attributes:
        request: its number, from 1.
        people: number of people to forget so far.
        now: efficacy on the people of this request; None without signal.
        past: the lowest efficacy on the people of an earlier request; None after the first.
        rebound: the largest part of an earlier efficacy that is lost again; None after the first.
        utility: as in a run.
        score: over all people to forget so far.
        at_once: the score of the same method that forgot all of them at once; only after the last request.
        verdict: of the model after this request.
    """

    method: str
    modality: str
    request: int
    people: int
    now: Estimate | None
    past: Estimate | None
    rebound: Estimate | None
    utility: Estimate | None
    score: Estimate | None
    at_once: Estimate | None
    verdict: MethodVerdict


class Measure(Strict):
    """One number of one model that is read from likelihoods; see `unsee.scoring.memorisation`.

    Attributes:
        p_value: of the test that the number comes from; None for others.
    """

    name: str
    method: str
    modality: str
    value: Estimate
    p_value: float | None = None


class Agreement(Strict):
    """Cohen's kappa of two judges of refusal; None if both give one and the same decision to everything."""

    first: str
    second: str
    kappa: float | None
    num_replies: int


class Scores(RecordFile):
    """The content of scores.json.

    Attributes:
        kind: people or documents.
        reason: the reason why nothing is ranked, as a clause; "" if methods are ranked.
        better: the direction of each registered metric.
        cells: every metric of every model in every cell.
        methods: one row per method and control.
        lost: the cells in which the target is worse than the base model; None if that was not asked. People only.
        attacks: the results of attacks; people only.
        requests: methods after one request after another, if the recipe has several; people only.
        measures: membership and memorisation, if the recipe has such an attack; people only.
        differences: between variants of one method; documents only.
        agreements: between judges of refusal; documents only.
    """

    version: Literal["unsee.scores/2"] = Field(default="unsee.scores/2", alias="schema")
    kind: Kind
    reason: str = ""
    better: dict[str, Better] = Field(default_factory=dict)
    cells: list[Cell]
    methods: list[MethodScore]
    lost: list[Lost] | None = None
    attacks: list[AttackResult] = Field(default_factory=list)
    requests: list[AfterRequest] = Field(default_factory=list)
    measures: list[Measure] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)
    agreements: list[Agreement] = Field(default_factory=list)

    @property
    def silent_attacks(self) -> list[str]:
        """The attacks of which no way has signal."""
        heard = {one.attack for one in self.attacks if one.signal}
        return list(dict.fromkeys(one.attack for one in self.attacks if one.attack not in heard))

    @property
    def cost_of_teaching(self) -> str:
        """A sentence on what the target lost against the base model; "" if that was not asked."""
        if self.lost is None:
            return ""
        if not self.lost:
            return "Teaching cost the target nothing: it answers no kind of question worse than the base model."
        cells = [
            f"{cell.set} {cell.task} by {cell.input} {cell.target.value:.2f} (base model {cell.base.value:.2f})"
            for cell in sorted(self.lost, key=lambda cell: cell.difference.value)
        ]
        return (
            f"Teaching cost the target some of what the base model could do: {', '.join(cells)}. Utility does not show "
            "this, because it is relative to the target."
        )

    @property
    def further_metrics(self) -> list[str]:
        """The optional metrics and those of other distributions that have cells, sorted."""
        alone = {cell.metric for cell in self.cells if cell.input != BOTH}
        return sorted(alone - {*METRIC_COLUMNS, *DOCUMENTS_METRICS})

    @property
    def has_pairs(self) -> bool:
        """True if questions were asked twice, with the image and in text."""
        return any(cell.input == BOTH for cell in self.cells)


def check_models(folder: Path, scores: Scores, answers: pd.DataFrame) -> None:
    """Check that the scores and the answers of a run are about the same models.

    Raises:
        RecordError: they are not, as after one of the two files was changed.
    """
    scored = {(method.method, method.modality) for method in scores.methods}
    answered = set(answers[["method", "modality"]].drop_duplicates().itertuples(index=False, name=None))
    if different := sorted("-".join(filter(None, map(str, model))) for model in scored ^ answered):
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise RecordError(
            f"{folder}: scores.json and answers.parquet are about different models ({', '.join(different[:3])}{more}); "
            "the same command makes the run again"
        )


def is_control(kind: Kind, method: str) -> bool:
    """Return True for target, oracles and the other models for comparison."""
    return method in CONTROLS[kind] or (kind == "people" and method.startswith("oracle_"))
