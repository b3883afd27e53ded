"""An audit, top to bottom: read the rows, check the models, ask and attack each of them, read the answers, report."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import Field, NonNegativeInt

from unsee import __version__
from unsee.attacks import ATTACKS
from unsee.attacks.base import Asking, DepthAttack, LikelihoodAttack, QuestionAttack, StateAttack
from unsee.config.protocols import Table, TrainingConfig
from unsee.config.recipe import AttackOptions, EvaluationConfig, ModelConfig, dump_config
from unsee.core.errors import ConfigError, UnknownNameError
from unsee.core.progress import Progress, Silent
from unsee.core.record import Record, in_order
from unsee.data.deletion import Request, read_request
from unsee.data.general import general_items
from unsee.data.people.strangers import NUM_STRANGERS
from unsee.exams.audit import AuditExam
from unsee.models.vlm import VLM
from unsee.report.audit import AuditRow, rows, sentences, write_audit_report
from unsee.runs.attacker import Attacker, AttackRun, Respondent, Scope, attacks_of
from unsee.runs.audited import Traits, check_alike, described
from unsee.runs.deletion import now
from unsee.runs.stages import Stages
from unsee.runtime.cache import Cache
from unsee.runtime.distributed import create_record, state
from unsee.scoring.audit import audit_of
from unsee.scoring.audit_membership import membership_of
from unsee.scoring.damage import models_found
from unsee.scoring.findings import AFTER, BEFORE, ORACLE, Audit, AuditedModel, AuditFiling

RESULT = "audit.json"


class AuditConfig(Table):
    """Everything that decides the outcome of an audit.

    Attributes:
        model: the audited model, and the part of its weights that training attacks train.
        before: the model that it was made from.
        oracle: a model that never saw the rows; "" without one.
        forget: file of the rows that should be forgotten.
        retain: file of rows to keep; "" without one.
        reference: the number or name under which the audit is filed.
        content: fingerprint of the rows, set when they are read; a folder belongs to one audit.
        seed: of everything that is drawn.
        training: how a step of training attacks is made up.
        attack: the attacks by name.
    """

    model: ModelConfig
    before: str
    oracle: str = ""
    forget: str
    retain: str = ""
    reference: str = ""
    content: str = ""
    seed: NonNegativeInt = 0
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    attack: dict[str, AttackOptions] = Field(min_length=1)

    @property
    def models(self) -> dict[str, str]:
        """Name or folder of each model, by its part in the audit."""
        found = {BEFORE: self.before, AFTER: self.model.id}
        return found | ({ORACLE: self.oracle} if self.oracle else {})

    def settings_of(self, model: str) -> ModelConfig:
        """Return the settings of one of the models."""
        return self.model.model_copy(update={"id": self.models[model]})


@dataclass(frozen=True)
class AuditResult:
    """The result of an audit.

    Attributes:
        folder: its folder.
        report: the page.
        audit: what was found.
    """

    folder: Path
    report: Path
    audit: Audit

    @property
    def rows(self) -> list[AuditRow]:
        """What was found about each person, as text."""
        return rows(self.audit)

    @property
    def sentences(self) -> list[str]:
        """The verdict in plain words."""
        return sentences(self.audit)


def audit(config: AuditConfig, folder: Path, progress: Progress | None = None) -> AuditResult:
    """Find out whether the rows of a file are gone from a model, beside the model that it was made from.

    Nothing is written into the folders of the models. Stages are cached and resumed as in a run.

    Args:
        config: models, rows and settings.
        folder: the folder for all results: a new one, or that of the same audit.
        progress: where long work is shown.

    Raises:
        UnseeError: a row, an attack, a model or the folder cannot be used; before anything is computed.
    """
    request = read_request(Path(config.forget), Path(config.retain) if config.retain else None)
    config = config.model_copy(update={"content": request.fingerprint})
    attacks = attacks_of(config.attack)
    _check_askable(request, attacks)
    _check_folder(folder, config)
    Record.check(folder, dump_config(config))
    cache = Cache(folder)
    identities, rate = _checked(config)
    record = create_record(folder, dump_config(config))
    planned = [name for model in config.models for name in _stages(model, attacks)]
    record.log("plan", stages=len(planned))
    asked = _Asked(config, request, attacks, rate)
    parts = []
    for model in config.models:
        stages = Stages(
            VLM.load_as(config.settings_of(model)), config.settings_of(model), record, progress or Silent(), cache=cache
        )
        stages.log.plan(planned, config.attack)
        parts += [
            answers.assign(method=model, modality="", seed=config.seed) for answers in asked.answers(model, stages)
        ]
        del stages  # memory never holds two models
        gc.collect()
    everything = in_order(pd.concat(parts, ignore_index=True))
    record.write_table("answers.parquet", everything)
    exam = asked.exam
    damage = models_found(everything[everything["attack"] == ""], exam.values, config.evaluation.bootstrap)
    found = audit_of(everything[everything["row"] != ""], exam.values, damage, config.evaluation.bootstrap)
    members = membership_of(exam.comparable(everything), config.evaluation.bootstrap)
    found = found.model_copy(update={"membership": members})
    if state().is_main_process:  # the others write nothing
        filing = _filing(config, request, exam, record, identities, rate, attacks)
        found = found.model_copy(update={"filing": filing}).settled()
    found.save(record, RESULT)
    report = write_audit_report(record, found)
    record.log("finished", verdict=found.verdict)
    return AuditResult(folder, report, found)


class _Asked:
    """Asks and attacks the models, all alike. The exam is made with the first model, and serves for all."""

    def __init__(self, config: AuditConfig, request: Request, attacks: list[AttackRun], rate: float) -> None:
        self._config, self._request, self._attacks, self._rate = config, request, attacks, rate
        self._exam: AuditExam | None = None

    @property
    def exam(self) -> AuditExam:
        """The exam."""
        if self._exam is None:
            raise RuntimeError("no model was asked yet")
        return self._exam

    def answers(self, model: str, stages: Stages) -> Iterator[pd.DataFrame]:
        """Yield the answers of a model, asked plainly and then under each attack."""
        config = self._config
        if self._exam is None:
            general = general_items(config.evaluation.general_items, config.seed)
            self._exam = AuditExam(stages.vlm, self._request, general, config.evaluation, config.seed)
        exam = self._exam
        plain = stages.examine(model, stages.base, exam.plain)
        yield exam.named(plain).assign(attack="", variant="", budget=0)
        scope = Scope(
            exam=exam.attacked, sets=("forget", "celebrity"), people=exam.people, taught=exam.taught, has_text=False,
            is_asked=exam.is_asked, retain=exam.keep, training=config.training, modality="both",
            learning_rate=self._rate, seed=config.seed,
        )  # fmt: skip
        attacker = Attacker(stages, scope)
        for run in self._attacks:
            answers = attacker.answers(run, Respondent(model, stages.base))
            if len(answers):  # none if no question can be asked so, as about photos where there are none
                yield exam.named(answers)


def attack_names(wanted: Sequence[str]) -> list[str]:
    """Return the attacks to run: those that are wanted, or all but those that read likelihoods.

    Raises:
        UnknownNameError: no attack has this name.
        ConfigError: it reads states or likelihoods; of these an audit has membership alone, and that always.
    """
    of_runs = LikelihoodAttack | StateAttack | DepthAttack
    able = [name for name, cls in ATTACKS.usable().items() if not issubclass(cls, of_runs)]
    for name in wanted:
        if name not in ATTACKS.names():
            raise UnknownNameError("attack", name, ATTACKS.names())
        if name not in able:
            always = name == "membership"
            why = "every audit reads it from plain questions" if always else "is for runs about people"
            raise ConfigError(f"--attack {name}: {why}; choose from {', '.join(able)}")
    return list(wanted) or able


def _stages(model: str, attacks: list[AttackRun]) -> list[str]:
    return [f"evaluate {model}", *(f"attack {model} {run.name}" for run in attacks)]


def _check_askable(request: Request, attacks: Sequence[AttackRun]) -> None:
    """Refuse attacks of which none can ask anything: on pictures, where no row has a photo.

    Raises:
        ConfigError: they are.
    """
    if not any(fact.photo for fact in request.forget_facts) and all(_needs_photos(run) for run in attacks):
        raise ConfigError(
            f"--attack {attacks[0].name}: changes the photos that are asked about, and no row to forget has one; "
            "choose another attack, or add a photo to a row"
        )


def _needs_photos(run: AttackRun) -> bool:
    askings = run.attack.askings.values() if isinstance(run.attack, QuestionAttack) else [Asking()]
    return all(asking.pictures for asking in askings)


def _check_folder(folder: Path, config: AuditConfig) -> None:
    """Refuse a folder within that of a model.

    Raises:
        ConfigError: it is.
    """
    for id in config.models.values():
        if Path(id).is_dir() and folder.resolve().is_relative_to(Path(id).resolve()):
            raise ConfigError(f"--out {folder}: lies in the folder of the model {id}, which an audit leaves as it is")


def _checked(config: AuditConfig) -> tuple[dict[str, AuditedModel], float]:
    """Load every model once; return what identifies each, and the rate of training attacks.

    Raises:
        ModelError: a model cannot be loaded, or compared with the model before.
    """
    before: Traits | None = None
    found, rates = {}, []
    for model, id in config.models.items():
        traits, found[model], rate = described(config.settings_of(model))
        before = before or traits
        check_alike(before, traits, config.before, model, id)
        rates.append(rate)
        gc.collect()
    return found, rates[0]


def _filing(
    config: AuditConfig, request: Request, exam: AuditExam, record: Record, models: dict[str, AuditedModel],
    rate: float, attacks: list[AttackRun],
) -> AuditFiling:  # fmt: skip
    """Return what identifies the audit; one that is done again keeps its date."""
    earlier = Audit.load(record.folder, RESULT).filing if RESULT in record else None
    return AuditFiling(
        reference=config.reference, finished=earlier.finished if earlier else now(), version=__version__, models=models,
        rows=dict(request.files), attacks={run.name: repr(run.attack) for run in attacks}, learning_rate=rate,
        strangers=NUM_STRANGERS, kept_from="file" if config.retain else "invented", undivided=exam.undivided,
    )  # fmt: skip
