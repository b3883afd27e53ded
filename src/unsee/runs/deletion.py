"""A deletion request, top to bottom: read, ask, unlearn, ask again, save, report. It has no benchmark and no oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pandas as pd
from pydantic import Field, NonNegativeInt, model_validator

from unsee import __version__
from unsee.config.protocols import Table
from unsee.config.recipe import (
    EvaluationConfig,
    MethodTable,
    MetricTable,
    ModelConfig,
    UnlearnConfig,
    dump_config,
)
from unsee.core.errors import ConfigError, DataError
from unsee.core.files import sha256_of
from unsee.core.progress import Progress, Silent
from unsee.core.record import GENERAL_SET, LEAK, STRANGER_SET, Record, in_order
from unsee.core.source import source_hash
from unsee.data.deletion import Request, inputs, read_request
from unsee.data.general import general_items
from unsee.data.schema import Question
from unsee.exams.deletion import DeletionExam
from unsee.exams.metrics import make_metrics
from unsee.methods import METHODS
from unsee.methods.base import LossMethod
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion
from unsee.models.vlm import VLM
from unsee.report.deletion import DeletionRow, rows, sentences, write_request_report
from unsee.runs.method_runs import INPUTS, Material, MethodRun, make_method
from unsee.runs.requests import Earlier, check_kept, earlier_requests, write_ledger
from unsee.runs.stages import Stages
from unsee.runs.weights import Weights
from unsee.runtime.cache import Cache, key_of
from unsee.runtime.distributed import create_record, state
from unsee.scoring.deletion import (
    AFTER,
    BEFORE,
    FORGET_SETS,
    broken_around,
    compare,
    given_to_strangers,
    with_earlier,
    with_values,
)
from unsee.scoring.outcome import EarlierOutcome, Outcome, RequestFiling
from unsee.training.train import StopRule

DEFAULT_METHOD = "ignorance"
ADAPTER_LEARNING_RATE = 1e-3
"""With the rate for whole weights, adapters on nano needed four times as many steps and still gave 3 of 116 values."""
ONE_STRANGER = {"num_others": 1, "name_weight": 4.0}
"""Where one stranger stands in for a person, the person tends to get the stranger's name, too."""


class RequestConfig(Table):
    """Everything that decides the outcome of a deletion request.

    Attributes:
        forget: file of the rows to forget.
        retain: file of the rows to keep.
        reference: the number or name under which the request is filed.
        after: the folder of the request whose model is the start; "" for the first request.
        content: fingerprint of both files, set when they are read; a folder belongs to one request.
        seed: of the batches.
        metric: options of metrics by name, except those that are keys of `[evaluation]`.
        method: the one method, with one modality.
    """

    forget: str
    retain: str
    reference: str = ""
    after: str = ""
    content: str = ""
    seed: NonNegativeInt = 0
    model: ModelConfig = ModelConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    metric: dict[str, MetricTable] = Field(default_factory=dict)
    method: dict[str, MethodTable]

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if [len(table.modality) for table in self.method.values()] != [1]:
            given = ", ".join(self.method) or "none"
            raise ValueError(f"method: a deletion request takes one method with one modality, got {given}")
        return self


@dataclass(frozen=True)
class RequestResult:
    """The result of a deletion request.

    Attributes:
        folder: the request's folder; the model is in `model`.
        report: the page.
        outcome: what was known before, what is given now, what broke, and the verdict.
    """

    folder: Path
    report: Path
    outcome: Outcome

    @property
    def rows(self) -> list[DeletionRow]:
        """The figures of each person as text."""
        return rows(self.outcome)

    @property
    def sentences(self) -> list[str]:
        """The verdict in plain words."""
        return sentences(self.outcome)

    @property
    def is_failed(self) -> bool:
        """True if the model still gives a value, or broke."""
        return self.outcome.verdict in ("leaks", "broke")


def unlearn(config: RequestConfig, folder: Path, progress: Progress | None = None) -> RequestResult:
    """Make a model forget the rows of one file and keep those of another. Stages are cached and resumed as in a run.

    Args:
        config: the request and its settings.
        folder: the folder for all results: a new one, or that of the same request.
        progress: where long work is shown.

    Raises:
        UnseeError: a row, the method, the model or the folder cannot be used; before anything is computed.
    """
    request = read_request(Path(config.forget), Path(config.retain))
    config = config.model_copy(update={"content": request.fingerprint, "method": settled_methods(config)})
    name, method = _method(config)
    (modality,) = config.method[name].modality
    _check_asked(request, config)
    after = Path(config.after) if config.after else None
    earlier = earlier_requests(after) if after else []
    check_kept(earlier, request, config.retain)
    Record.check(folder, dump_config(config))
    cache = Cache(folder)
    vlm = VLM.load_as(config.model)
    vlm_before = vlm.fingerprint()
    record = create_record(folder, dump_config(config))
    stages = Stages(vlm, config.model, record, progress or Silent(), cache=cache)
    run = MethodRun(name, modality, config.seed, method)
    again = [one for one in earlier if one.request]
    planned = [f"evaluate {BEFORE}", f"{run.work} {run.label}", f"evaluate {AFTER}"]
    planned += [f"evaluate earlier_{n}_{when}" for n in range(1, len(again) + 1) for when in (BEFORE, AFTER)]
    stages.log.plan(planned, config.method)
    record.log("plan", stages=len(planned))
    metrics = make_metrics(config.evaluation, config.metric)
    general = general_items(config.evaluation.general_items, config.seed)
    exam = DeletionExam(vlm, request, general, config.evaluation, metrics)
    before = _compared(exam.named(stages.examine(BEFORE, stages.base, exam.before)), BEFORE, config)
    strangers = before[before["set"] == STRANGER_SET]
    before = with_values(before, exam.values, strangers)
    material = _material(exam, request, before, config, record)
    weights = stages.apply(run, stages.base, material)
    now = _compared(exam.named(stages.examine(AFTER, weights, exam.after)), AFTER, config)
    if "model" not in record:
        changed = stages.load(weights)
        with record.replacing("model") as path:
            changed.save(path)

    everything = pd.concat([before, with_values(now, exam.values, strangers)], ignore_index=True)
    record.write_table("answers.parquet", in_order(everything))
    outcome = compare(everything, exam.names, config.evaluation.bootstrap)
    exams = {
        one.entry.digest: DeletionExam(vlm, one.request, (), config.evaluation, metrics) for one in again if one.request
    }
    outcome = with_earlier(outcome, list(_asked_again(earlier, exams, stages, weights, config)))
    if state().is_main_process:  # the others write nothing
        filing = _filing(config, request, vlm_before, record, stages.steps(weights))
        outcome = outcome.model_copy(update={"filing": filing})
    outcome.save(record, "request.json")
    if state().is_main_process:
        write_ledger(record, outcome, after)
    report = write_request_report(record, outcome)
    record.log("finished", verdict=outcome.verdict, collapsed=outcome.collapsed is not None)
    return RequestResult(folder, report, outcome)


def _asked_again(
    earlier: Sequence[Earlier], exams: Mapping[str, DeletionExam], stages: Stages, weights: Weights,
    config: RequestConfig,
) -> Iterator[EarlierOutcome]:  # fmt: skip
    """Ask the rows of earlier requests again, of the model before this request and of the new one."""
    numbers = itertools.count(1)
    for place, one in enumerate(earlier, start=1):
        reference = one.entry.filing.reference or str(place)
        if (exam := exams.get(one.entry.digest)) is None:
            yield EarlierOutcome(reference=reference, at_hand=False)
            continue
        number, found = next(numbers), []
        strangers = pd.DataFrame()
        for when, model, asked in ((BEFORE, stages.base, exam.before), (AFTER, weights, exam.after)):
            answers = exam.named(stages.examine(f"earlier_{number}_{when}", model, asked))
            answers = _compared(answers, when, config)
            strangers = answers[answers["set"] == STRANGER_SET] if when == BEFORE else strangers
            valued = with_values(answers, exam.values, strangers)
            found.append(valued[valued["set"].isin(FORGET_SETS)])
        given = [int((answers[LEAK] > 0).sum()) for answers in found]
        yield EarlierOutcome(reference=reference, at_hand=True, ways=len(found[1]), before=given[0], after=given[1])


def settled_methods(config: RequestConfig) -> dict[str, MethodTable]:
    """Return the tables of methods, with what `ignorance` takes in a request for options that are not given."""
    table = config.method.get(DEFAULT_METHOD)
    if table is None:
        return config.method
    settings = {**ONE_STRANGER}
    if config.model.trainable != "full":
        settings["learning_rate"] = ADAPTER_LEARNING_RATE
    return {DEFAULT_METHOD: table.model_copy(update=settings | table.options)}


def _material(
    exam: DeletionExam, request: Request, before: pd.DataFrame, config: RequestConfig, record: Record
) -> Material:
    """Return the data of the method, and the rule that ends its training: no value is given, and nothing broke."""
    strangers = before[before["set"] == STRANGER_SET]
    asked = exam.about_forgotten

    def left(vlm: VLM) -> int:
        now = with_values(_compared(asked.examine(vlm), AFTER, config), exam.values, strangers)
        given, broken = int((now[LEAK] > 0).sum()), broken_around(before, now, exam.names)
        record.log("checked", values_given=given, broken=broken)
        return given + broken

    forget, retain, stand_ins = exam.training_people(before, given_to_strangers(exam.values, strangers))
    return Material(
        names=tuple(dict.fromkeys(fact.name for fact in request.forget_facts)), forget=forget, retain=retain,
        pairs=lambda *_: [], unlearn=config.unlearn, stand_ins=stand_ins,
        stop=StopRule(key_of(asked.key, source_hash(with_values.__module__)), left),
    )  # fmt: skip


def _filing(
    config: RequestConfig, request: Request, before: str, record: Record, steps: tuple[int, int]
) -> RequestFiling:
    """Return what identifies the request; one that is done again keeps its date."""
    earlier = Outcome.load(record.folder, "request.json").filing if "request.json" in record else None
    weights = sorted((record.folder / "model").glob("*.safetensors"))
    ((name, _),) = config.method.items()
    return RequestFiling(
        reference=config.reference, finished=earlier.finished if earlier else now(), version=__version__, method=name,
        model=config.model.id, rows=dict(request.files), model_before=before,
        model_after={path.name: sha256_of(path) for path in weights}, steps=steps[0], most_steps=steps[1],
        outside=len(request.outside),
    )  # fmt: skip


def now() -> str:
    """Return date and time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _method(config: RequestConfig) -> tuple[str, LossMethod]:
    ((name, options),) = config.method.items()
    method = make_method(name, options)
    if not isinstance(method, LossMethod):
        able = ", ".join(other for other, cls in METHODS.usable().items() if issubclass(cls, LossMethod))
        raise ConfigError(f"method.{name}: forgets no rows by training; choose one that does: {able}")
    return name, method


def _check_asked(request: Request, config: RequestConfig) -> None:
    """Check that the rows have the inputs that the modality unlearns from.

    Raises:
        DataError: no row has one of them.
    """
    ((_, options),) = config.method.items()
    wanted, found = INPUTS[options.modality[0]], inputs(request.forget)
    if lacking := [kind for kind in wanted if kind not in found]:
        raise DataError(
            f"{config.forget}: no row can be asked with {'an image' if lacking[0] == 'image' else 'text alone'}; "
            f"choose --modality {'text' if lacking[0] == 'image' else 'image'}"
        )


def _compared(answers: pd.DataFrame, model: str, config: RequestConfig) -> pd.DataFrame:
    """Return the answers with the exact match of free answers, and with the rows of one human being as one unit."""
    exact = METRICS.get("accuracy")()
    free = answers["task"] == "generation"
    matches = [
        exact.score(AnsweredQuestion(
            question=Question(task="generation", input="text", question="", answer=truth), answer=answer,
            log_probability=0.0, num_tokens=1,
        ))
        for truth, answer in zip(answers.loc[free, "truth"], answers.loc[free, "answer"], strict=True)
    ]  # fmt: skip
    answers.loc[free, "accuracy"] = matches
    people = answers["unit"].where(answers["set"].isin([GENERAL_SET, STRANGER_SET]), answers["unit"].str[:3])
    ((_, options),) = config.method.items()
    return answers.assign(method=model, modality=options.modality[0], seed=config.seed, unit=people)
