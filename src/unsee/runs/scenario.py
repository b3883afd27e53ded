"""The common part of runs about people and about documents: the tasks of examining and of methods, and the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

import pandas as pd

from unsee.config.recipe import DocumentsConfig, RunConfig
from unsee.core.record import Better, Record, in_order
from unsee.exams.base import Examination
from unsee.methods.base import Guard, GuardMethod, LossMethod, PromptMethod
from unsee.report.reports import write_report
from unsee.runs.method_runs import Material, MethodRun
from unsee.runs.stages import Stages
from unsee.runs.weight_change import WeightChange
from unsee.runs.weights import Weights
from unsee.runtime.cost import Cost
from unsee.runtime.distributed import state
from unsee.runtime.tasks import Results, Task
from unsee.scoring import schema
from unsee.scoring.schema import Scores
from unsee.scoring.table import DocumentsRow, PeopleRow, rows

EVALUATION_COST, EDIT_COST = 30.0, 60.0
"""The expected time of an evaluation and of an edit, in steps of teaching; a step of a method counts twice."""


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
class Examined:
    """The result of a stage that evaluates a model.

    Attributes:
        answers: the model's answers, with the columns method, modality and seed.
        change: how far a method moved the weights; None if they are unchanged.
        cost: what the method took; None too if it was not recorded.
    """

    answers: pd.DataFrame
    change: WeightChange | None = None
    cost: Cost | None = None


@dataclass
class Scenario:
    """The stages that runs about people and about documents share, as tasks.

    Attributes:
        record: the run's folder.
        stages: computes weights and answers.
        exam: asks every model the same questions.
    """

    record: Record
    stages: Stages
    exam: Guardable

    def examine(self, name: str, seed: int, made_by: str = "", weights: Weights | None = None) -> Task:
        """Return the task of evaluating a model.

        Args:
            name: the model.
            seed: as written with the answers.
            made_by: the task whose result is its weights.
            weights: its weights if no task makes them; None for random ones.
        """

        def compute(results: Results) -> Examined:
            answers = self.stages.examine(name, results[made_by] if made_by else weights, self.exam)
            return Examined(_labelled(answers, name, "", seed))

        return Task(f"evaluate {name}", (made_by,) if made_by else (), compute, EVALUATION_COST)

    def apply(
        self, run: MethodRun, target: str | Weights, material: Callable[[Results], Material], needs: Sequence[str] = ()
    ) -> list[Task]:
        """Return the tasks of one method: most make a model first, and each is evaluated.

        Args:
            run: the method.
            target: the task whose result is the target, or its weights.
            material: takes the results of the tasks, and returns the method's data.
            needs: further tasks that `material` needs.
        """
        makes = () if isinstance(target, Weights) else (target,)

        def start(results: Results) -> Weights:
            found: Weights = target if isinstance(target, Weights) else results[target]
            return found

        if not run.changes_weights:
            return [
                Task(
                    f"evaluate {run.label}", (*makes, *needs),
                    lambda results: self._asked(run, start(results), material(results)), EVALUATION_COST,
                )
            ]  # fmt: skip
        made = f"{run.work} {run.label}"

        def make(results: Results) -> Weights:
            weights = self.stages.apply(run, start(results), material(results))
            base = "models/target" if len(weights.files) > 1 and not weights.edit else ""
            self.stages.export(f"models/{run.label}", weights, base)
            return weights

        def examine(results: Results) -> Examined:
            weights = results[made]
            answers = self.stages.examine(run.label, weights, self.exam)
            change = self.stages.change(start(results), weights)
            return Examined(_labelled(answers, run.name, run.modality, run.seed), change, self.stages.cost(weights))

        steps = run.method.steps if isinstance(run.method, LossMethod) else 0
        return [
            Task(made, (*makes, *needs), make, 2.0 * steps or EDIT_COST),
            Task(f"evaluate {run.label}", (*makes, made), examine, EVALUATION_COST),
        ]

    def _asked(self, run: MethodRun, target: Weights, material: Material) -> Examined:
        """Evaluate a method that changes no weights."""
        system = run.method.system_prompt(material.names) if isinstance(run.method, PromptMethod) else None
        answers = self.stages.examine(run.label, target, self.exam, system)
        if isinstance(run.method, GuardMethod):
            answers = self.exam.guarded(answers, run.method.guard(material.pairs(run.modality, run.seed)))
        return Examined(_labelled(answers, run.name, run.modality, run.seed))

    def finish(self, scores: Scores, verdict: str, reason: str) -> RunResult:
        """Write scores and report, and return the result of the run."""
        scores.save(self.record, "scores.json")
        report = self.record.folder / "report.html"
        if state().is_main_process:
            write_report([self.record.folder], report)
        self.record.log("finished", signal=verdict != "no signal")
        return RunResult(self.record.folder, report, verdict, reason, scores)


class Run(Protocol):
    """A run whose model, data and methods are open, and of which nothing is computed yet."""

    @property
    def config(self) -> RunConfig | DocumentsConfig:
        """The recipe, with everything settled that depends on model and data."""
        ...

    @property
    def scenario(self) -> Scenario:
        """What computes its stages."""
        ...

    @property
    def tasks(self) -> list[Task]:
        """All its stages, in the order in which they are numbered."""
        ...

    def unwanted(self, results: Results) -> Collection[str]:
        """Return the tasks that are not wanted any more, by the results so far."""
        ...

    def finish(self, results: Results) -> RunResult:
        """Score the answers and write the report."""
        ...


def _labelled(answers: pd.DataFrame, method: str, modality: str, seed: int) -> pd.DataFrame:
    return answers.assign(method=method, modality=modality, seed=seed)


def is_examined(task: Task, results: Results) -> bool:
    """Return True if a task has evaluated a model."""
    return isinstance(results.get(task.name), Examined)


def table_of(examined: Iterable[Examined]) -> pd.DataFrame:
    """Return the answers of several models as one table."""
    return in_order(pd.concat([one.answers for one in examined], ignore_index=True))


def change_over_seeds(examined: Sequence[Examined]) -> schema.ChangeAndCost | None:
    """Return change and cost of one method over its seeds.

    Relative change, seconds and passes are means, peak memory is the maximum, and the number of parameters is that of
    the first seed.
    """
    changes = [one.change for one in examined if one.change]
    costs = [one.cost for one in examined if one.cost]
    if not changes:
        return None
    return schema.ChangeAndCost(
        fmean(change.relative for change in changes), changes[0].parameters,
        fmean(cost.seconds for cost in costs) if costs else None,
        max((cost.peak_bytes for cost in costs), default=None),
        fmean(cost.forward_passes for cost in costs) if costs else None,
        fmean(cost.backward_passes for cost in costs) if costs else None,
    )  # fmt: skip
