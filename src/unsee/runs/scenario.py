"""The common part of runs about people and about documents: examine models, apply methods, write the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Protocol

import pandas as pd

from unsee.core.record import Better, Record, in_order
from unsee.methods.base import Guard, GuardMethod, PromptMethod
from unsee.report.people import write_report
from unsee.runs.method_runs import Material, MethodRun
from unsee.runs.stages import Examination, Stages
from unsee.runs.weight_change import WeightChange
from unsee.runs.weights import Weights
from unsee.runtime.cost import Cost
from unsee.runtime.distributed import state
from unsee.scoring import schema
from unsee.scoring.schema import Scores
from unsee.scoring.table import DocumentsRow, PeopleRow, rows


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        folder: the run's folder.
        report: the page.
        verdict: "ok", or "no signal" if target and oracle do not differ.
        reason: why there is no signal, as a clause; "" if there is one.
        scores: the content of scores.json.
    """

    folder: Path
    report: Path
    verdict: str
    reason: str
    scores: Scores

    @property
    def rows(self) -> list[PeopleRow] | list[DocumentsRow]:
        """The table of methods as text."""
        return rows(self.scores)


class Guardable(Examination, Protocol):
    """An examination in which a guard can answer in place of the model."""

    @property
    def better(self) -> dict[str, Better]:
        """The direction of every metric, by name."""
        ...

    def guarded(self, answers: pd.DataFrame, guard: Guard) -> pd.DataFrame:
        """Return the answers, with those of the guard to the questions that it answers."""
        ...


@dataclass(frozen=True)
class Applied:
    """The change to the weights by one method, and its cost.

    Attributes:
        change: None if the weights are unchanged.
        cost: None too if it was not recorded.
    """

    change: WeightChange | None = None
    cost: Cost | None = None


@dataclass
class Scenario:
    """A run in progress: its stages, its exam, and the answers so far.

    Attributes:
        record: the run's folder.
        stages: computes weights and answers.
        exam: asks every model the same questions.
        answers: one table for each examined model.
    """

    record: Record
    stages: Stages
    exam: Guardable
    answers: list[pd.DataFrame] = field(default_factory=list)

    def examine(self, name: str, weights: Weights | None, seed: int) -> None:
        """Examine a model and keep its answers; None stands for random weights."""
        self._add(self.stages.examine(name, weights, self.exam), name, "", seed)

    def export(self, name: str, weights: Weights) -> None:
        """Write a model into the run's folder."""
        self.stages.export(self.record, f"models/{name}", weights)

    def apply_all(
        self, method_runs: Sequence[MethodRun], target: Weights, materials: Sequence[Material]
    ) -> list[Applied]:
        """Apply each method to the target with its material, and examine the result."""
        return [self._apply(run, target, material) for run, material in zip(method_runs, materials, strict=True)]

    def _apply(self, run: MethodRun, target: Weights, material: Material) -> Applied:
        """Apply one method to the target, and examine the result."""
        if isinstance(run.method, PromptMethod):
            system = run.method.system_prompt(material.names)
            answers, applied = self.stages.examine(run.label, target, self.exam, system), Applied()
        elif isinstance(run.method, GuardMethod):
            guard = run.method.guard(material.pairs(run.modality, run.seed))
            answers = self.exam.guarded(self.stages.examine(run.label, target, self.exam), guard)
            applied = Applied()
        else:
            weights = self.stages.apply(run, target, material)
            self.export(run.label, weights)
            answers = self.stages.examine(run.label, weights, self.exam)
            applied = Applied(self.stages.change(target, weights), self.stages.cost(weights))
        self._add(answers, run.name, run.modality, run.seed)
        return applied

    def _add(self, answers: pd.DataFrame, method: str, modality: str, seed: int) -> None:
        self.answers.append(answers.assign(method=method, modality=modality, seed=seed))

    def table(self) -> pd.DataFrame:
        """Return the answers of all models so far."""
        return in_order(pd.concat(self.answers, ignore_index=True))

    def finish(self, scores: Scores, verdict: str, reason: str) -> RunResult:
        """Write scores and report, and return the result of the run."""
        scores.save(self.record, "scores.json")
        report = self.record.folder / "report.html"
        if state().is_main_process:
            write_report([self.record.folder], report)
        self.record.log("finished", signal=verdict != "no signal")
        return RunResult(self.record.folder, report, verdict, reason, scores)


def stages_of(method_runs: Sequence[MethodRun]) -> int:
    """Return the number of stages of `apply_all`: each method is examined, and most make a model first."""
    return sum(1 + run.changes_weights for run in method_runs)


def change_over_seeds(applied: Sequence[Applied]) -> schema.ChangeAndCost | None:
    """Return change and cost of one method over its seeds.

    Relative change and seconds are means, peak memory is the maximum, and the number of parameters is that of the first
    seed.
    """
    changes = [one.change for one in applied if one.change]
    costs = [one.cost for one in applied if one.cost]
    if not changes:
        return None
    return schema.ChangeAndCost(
        fmean(change.relative for change in changes), changes[0].parameters,
        fmean(cost.seconds for cost in costs) if costs else None,
        max((cost.peak_bytes for cost in costs), default=None),
    )  # fmt: skip
