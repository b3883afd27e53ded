"""The methods of a recipe, tried one after another on one model, of whatever kind and whatever the run is about.

A trial ends in answers: of a changed model, of the same model under a system prompt, or of a guard before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

import pandas as pd

from unsee.runs.weight_change import Change
from unsee.config.recipe import DocumentsMethodTable, MethodTable, Modality, UnlearnConfig, build_dataclass
from unsee.runtime.cost import Cost
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Person
from unsee.edits.partial_forward import parse_layers
from unsee.edits.edit import Edit
from unsee.core.errors import ConfigError
from unsee.methods import METHODS
from unsee.methods.base import EditMethod, Guard, GuardMethod, LossMethod, PromptMethod
from unsee.models.vlm import VLM
from unsee.core.record import Record
from unsee.scoring import schema as forms
from unsee.scoring.schema import Scores
from unsee.scoring.table import DocumentsRow, Row, rows
from unsee.runs.stages import Examination, Stages, Weights

CONTROL = "do_nothing"
RESERVED = ("target", "oracle", "random_weights")
_LABEL = re.compile(r"\w[\w-]*")

Method = LossMethod | PromptMethod | EditMethod | GuardMethod


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind.

    Attributes:
        folder: the run's folder.
        report: the page.
        verdict: "ok", or "no signal" where there is nothing to be seen.
        reason: why there is no signal, as a clause; empty where there is.
        scores: the content of scores.json.
    """

    folder: Path
    report: Path
    verdict: str
    reason: str
    scores: Scores

    @property
    def rows(self) -> list[Row] | list[DocumentsRow]:
        """The table of methods as text."""
        return rows(self.scores)


@dataclass(frozen=True)
class Trial:
    """One method as the recipe asks for it.

    Attributes:
        name: its table's name, which is the method's own unless the table says `use`.
        modality: what it works from, "" where there is no choice.
        seed: of everything that is drawn.
        method: with its options.
        numbered: whether the seed belongs to the label.
        given: pictures of each subject that it is given, at most; 0 for all.
    """

    name: str
    modality: str
    seed: int
    method: Method
    numbered: bool = False
    given: int = 0

    @property
    def label(self) -> str:
        """Name, modality and seed, for files and bars."""
        return "-".join([self.name, *filter(None, [self.modality]), *([str(self.seed)] if self.numbered else [])])


class Guardable(Examination, Protocol):
    """An examination that a guard can stand before."""

    def guarded(self, answers: pd.DataFrame, guard: Guard) -> pd.DataFrame:
        """The same answers where the guard speaks in the model's place."""
        ...


@dataclass(frozen=True)
class Material:
    """What methods are given.

    Attributes:
        names: what the private questions are about, for prompts.
        forget: what loss methods forget.
        retain: what they keep.
        pairs: (modality, seed) -> the pairs of edits and guards.
        unlearn: how a step of a loss method is made up.
        oracle: the model that never saw what is to be forgotten, if there is one.
    """

    names: tuple[str, ...]
    forget: Sequence[Person]
    retain: Sequence[Person]
    pairs: Callable[[str, int], list[PrivacyPair]]
    unlearn: UnlearnConfig
    oracle: Weights | None = None


@dataclass(frozen=True)
class Tried:
    """What came of a trial; `change` is None where the weights stayed, `cost` also where it was not noted."""

    answers: pd.DataFrame
    change: Change | None = None
    cost: Cost | None = None


def control(seed: int) -> Trial:
    """The trial of the control that does nothing."""
    return Trial(CONTROL, "", seed, METHODS.get(CONTROL)())


def make_method(label: str, table: MethodTable | DocumentsMethodTable) -> Method:
    """The method of one table.

    Raises:
        ConfigError: the table's name is no name, or an option is wrong.
        UnknownNameError: there is no such method.
    """
    if not _LABEL.fullmatch(label) or label.startswith(RESERVED):
        raise ConfigError(f"method.{label}: a name is made of letters, digits and -, and not that of a control")
    if label == CONTROL and table.use not in ("", CONTROL):
        raise ConfigError(f"method.{label}: is the name of a control; choose another")
    method: Method = build_dataclass(METHODS.get(table.use or label), table.options, f"method.{label}")
    return method


def people_trials(tables: Mapping[str, MethodTable], seed: int) -> Iterator[Trial]:
    """The methods of a run about people; the control that does nothing is always among them."""
    yield control(seed)
    for name, table in tables.items():
        method = make_method(name, table)
        modalities: tuple[Modality | str, ...] = ("",) if isinstance(method, PromptMethod) else table.modality
        for modality in modalities if name != CONTROL else ():
            yield Trial(name, modality, seed, method)


def documents_trials(tables: Mapping[str, DocumentsMethodTable], seed: int) -> Iterator[Trial]:
    """The methods of a run about documents, each once for every seed; without the control."""
    for name, table in tables.items():
        method = make_method(name, table)
        seeds = table.seeds or (seed,)
        for own in seeds if name != CONTROL else ():
            yield Trial(name, "", own, method, numbered=len(seeds) > 1, given=table.given)


def check_layers(trials: Sequence[Trial], vlm: VLM) -> None:
    """Refuse layers that the model does not have, before anything is computed.

    Raises:
        ConfigError: a method names one; the message says which there are.
    """
    for trial in trials:
        if isinstance(trial.method, EditMethod):
            try:
                parse_layers(vlm, getattr(trial.method, "layers", "auto"))
            except ConfigError as error:
                raise ConfigError(f"method.{trial.name}.{error}") from None


def attempt(
    trial: Trial, stages: Stages, target: Weights, material: Material, exam: Guardable, exam_key: str, record: Record
) -> Tried:
    """Apply one method to the target, examine what it left, and take it back."""
    match trial.method:
        case PromptMethod():
            system = trial.method.system_prompt(material.names)
            return Tried(stages.examine(trial.label, target, exam, exam_key, system))
        case GuardMethod():
            guard = trial.method.guard(material.pairs(trial.modality, trial.seed))
            return Tried(exam.guarded(stages.examine(trial.label, target, exam, exam_key), guard))
        case EditMethod():
            pairs = material.pairs(trial.modality, trial.seed)
            weights = stages.edit(trial.label, target, trial.method, pairs, trial.seed)
        case _:
            modality: Modality = trial.modality or "image"  # type: ignore[assignment]
            weights = stages.unlearn(
                trial.label, target, trial.method, modality, material.forget, material.retain, material.unlearn,
                trial.seed, material.oracle,
            )  # fmt: skip
    export(stages, record, trial.label, weights)
    answers = stages.examine(trial.label, weights, exam, exam_key)
    return Tried(answers, stages.change(target, weights), stages.cost(weights))


def change_over_seeds(tried: Sequence[Tried]) -> forms.Change | None:
    """What one method changed and took, mean over its seeds; of the parameters those of the first."""
    changes = [one.change for one in tried if one.change]
    costs = [one.cost for one in tried if one.cost]
    if not changes:
        return None
    return forms.Change(
        fmean(change.relative for change in changes), changes[0].parameters,
        fmean(cost.seconds for cost in costs) if costs else None,
        max((cost.peak_bytes for cost in costs), default=None),
    )  # fmt: skip


def export(stages: Stages, record: Record, label: str, weights: Weights) -> None:
    """What a method made, into the run's folder: the edit, a whole model in the hub's format, or the LoRA adapter."""
    name = f"models/{label}"
    if name in record:
        return
    with record.replacing(name) as folder:
        if weights.edit:
            Edit.load(weights.edit).save(folder / "edit.safetensors")
        else:
            stages.load(weights).save(folder)


def named(answers: pd.DataFrame, method: str, modality: str, seed: int) -> pd.DataFrame:
    """The answers of one model with its name."""
    return answers.assign(method=method, modality=modality, seed=seed)
