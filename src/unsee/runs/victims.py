"""The models of a run about people that are attacked: the controls, and each method with its first seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unsee.config.recipe import AttackTable
from unsee.core.source import source_hash
from unsee.methods.base import GuardMethod, PromptMethod
from unsee.runs.attacker import Respondent
from unsee.runs.method_runs import Material, MethodRun
from unsee.runs.weights import Weights
from unsee.scoring.schema import DO_NOTHING

TARGET = "teach target"
"""The task that makes the model that knows everybody."""


@dataclass(frozen=True)
class Victim:
    """A model of a run that is attacked.

    Attributes:
        method: the method, or the control.
        modality: the questions it unlearned from; "" for controls.
        seed: of its training.
        label: its name in the log.
        made_by: the task whose result is its weights.
        run: the method, if its weights are the target's and something answers in its place.
    """

    method: str
    modality: str
    seed: int
    label: str
    made_by: str
    run: MethodRun | None = None


def victims_of(methods: Sequence[MethodRun], table: AttackTable, seed: int, num_oracles: int) -> list[Victim]:
    """Return the models that an attack is run on: the controls, then the methods, each with its first seed.

    A method that did not unlearn from the questions that the attack names is attacked with all that it unlearned from.
    """
    found = [Victim(DO_NOTHING, "", seed, DO_NOTHING, TARGET)]
    for number in range(1, num_oracles + 1):
        name = f"oracle_{number}" if number > 1 else "oracle"
        found.append(Victim(name, "", seed + number, name, f"teach {name}"))
    chosen = table.methods or [run.name for run in methods]
    for name in dict.fromkeys(run.name for run in methods if run.name in chosen and run.name != DO_NOTHING):
        firsts = {run.modality: run for run in reversed(methods) if run.name == name}
        own = {modality: run for modality, run in firsts.items() if modality in ("", *table.modality)} or firsts
        for run in reversed(own.values()):
            made_by = f"{run.work} {run.label}" if run.changes_weights else TARGET
            found.append(
                Victim(run.name, run.modality, run.seed, run.label, made_by, None if run.changes_weights else run)
            )
    return found


def respondent_of(victim: Victim, weights: Weights, target: Weights, material: Material) -> Respondent:
    """Return what answers for a model under attack.

    Args:
        victim: the model.
        weights: what the task returned that made it.
        target: the model that knows everybody.
        material: the data of methods that answer in place of the target.
    """
    if victim.run is None:
        return Respondent(victim.label, weights, target=target)
    method: Any = victim.run.method
    made_by = [victim.run.name, asdict(method), victim.modality, victim.seed, source_hash(type(method).__module__)]
    system = method.system_prompt(material.names) if isinstance(method, PromptMethod) else ""
    pairs = material.pairs(victim.modality, victim.seed) if isinstance(method, GuardMethod) else []
    guard = method.guard(pairs) if isinstance(method, GuardMethod) else None
    return Respondent(victim.label, weights, system or "", guard, made_by, target)
