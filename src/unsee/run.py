"""One run, top to bottom: data, target and oracles, gate, methods, evaluation, record and report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from unsee.config import (
    GENERATED,
    DataConfig,
    EvaluationConfig,
    Modality,
    RunConfig,
    build_dataclass,
    dump_config,
)
from unsee.data.builder import BUILDER_VERSION, build
from unsee.data.general import general_items
from unsee.data.mllmu import load
from unsee.data.schema import Benchmark
from unsee.evaluate import Exam
from unsee.methods import METHODS
from unsee.methods.base import LossMethod, PromptMethod
from unsee.models.vlm import VLM
from unsee.progress import Progress, Silent
from unsee.record import ANSWER_COLUMNS, Record
from unsee.report.html import write_report
from unsee.report.scores import Scores, cells, gate, score
from unsee.report.table import Row, rows
from unsee.stages import Stages, Weights, cache_folder, check_replay, key_of

CONTROL_METHODS = ("do_nothing",)
SHOWN_FORGET, SHOWN_RETAIN = 4, 2


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind.

    Attributes:
        folder: the run's folder.
        report: the page.
        verdict: "ok", or "no signal" where target and oracle cannot be told apart.
        reason: why there is no signal, as a clause; empty where there is.
        scores: the content of scores.json.
    """

    folder: Path
    report: Path
    verdict: str
    reason: str
    scores: Scores

    @property
    def rows(self) -> list[Row]:
        """The table of methods as text."""
        return rows(self.scores)


@dataclass(frozen=True)
class Trial:
    """One method as the recipe asks for it."""

    name: str
    modality: Modality | Literal[""]
    method: LossMethod | PromptMethod

    @property
    def label(self) -> str:
        """Name and modality, for files and bars."""
        return f"{self.name}-{self.modality}" if self.modality else self.name


class CellRow(NamedTuple):
    """One cell of one model, as text."""

    set: str
    task: str
    input: str
    metric: str
    value: str
    chance: str
    invalid: str
    items: str


def run(config: RunConfig, out: Path | None = None, progress: Progress | None = None) -> RunResult:
    """Do everything the recipe says; what an earlier run already computed is not computed again.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    progress = progress or Silent()
    trials = list(_trials(config))
    folder = out or Path("runs") / f"{config.name}-{key_of(config.model_dump())[:8]}"
    Record.check(folder, dump_config(config))
    vlm = VLM.load_as(config.model)
    check_replay(vlm, config.teach)
    benchmark = _data(config.data, progress)
    record = Record.create(folder, dump_config(config))
    stages = Stages(vlm, config.model, record, progress)
    exam, exam_key = _exam(stages, benchmark, config)
    _show_portraits(record, benchmark)

    answers = [_named(stages.examine("random_weights", None, exam, exam_key), "random_weights", "", config.seed)]
    everybody = sorted((*benchmark.forget, *benchmark.retain), key=lambda person: person.id)
    target = stages.teach("target", everybody, config.teach, config.seed)
    answers += [_named(stages.examine("target", target, exam, exam_key), "target", "", config.seed)]
    _export(stages, record, "target", target)
    for index in range(config.teach.oracle_seeds):
        name = "oracle" if index == 0 else f"oracle_{index + 1}"
        oracle = stages.teach(name, benchmark.retain, config.teach, config.seed + 1 + index)
        answers += [_named(stages.examine(name, oracle, exam, exam_key), name, "", config.seed + 1 + index)]
        _export(stages, record, name, oracle)
    resamples = config.evaluation.bootstrap
    found = gate(pd.concat(answers), resamples)
    found.save(record, "gate.json")
    record.log("gate", signal=found.signal)
    if found.signal:
        with progress.task("all methods", len(trials)) as advance:
            for trial in trials:
                answers += [_try(trial, stages, target, benchmark, config, exam, exam_key, record)]
                advance(1)

    table = pd.concat(answers, ignore_index=True)
    record.write_table("answers.parquet", table[list(ANSWER_COLUMNS)])
    scores = score(table, resamples)
    scores.save(record, "scores.json")
    record.log("finished", signal=found.signal)
    report = write_report([folder], folder / "report.html")
    return RunResult(folder, report, "ok" if found.signal else "no signal", found.reason, scores)


def evaluate_model(model: str, data: Path, forget_percent: int, progress: Progress | None = None) -> list[CellRow]:
    """Ask one model all questions of a data folder; the rows are its cells, intervals over people.

    Raises:
        UnseeError: the model or the data cannot be used.
    """
    benchmark = load(data, forget_percent)
    vlm = VLM.load(model)
    exam = Exam(vlm, benchmark, general_items(120, 0), EvaluationConfig())
    answers = _named(exam.sit(vlm, name=model, progress=progress), model, "", 0)
    return [
        CellRow(
            cell.set, cell.task, cell.input, cell.metric, f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]",
            "" if cell.chance is None else f"{cell.chance:.2f}", f"{cell.invalid:.2f}", str(cell.n_items),
        )
        for cell in cells(answers)
    ]  # fmt: skip


def _trials(config: RunConfig) -> Iterator[Trial]:
    """The methods of the recipe, checked; the control that does nothing is always among them."""
    for name in CONTROL_METHODS:
        yield Trial(name, "", METHODS.get(name)())
    for name, table in config.method.items():
        method = build_dataclass(METHODS.get(name), table.options, f"method.{name}")
        if name in CONTROL_METHODS:
            continue
        modalities: tuple[Modality | Literal[""], ...] = ("",) if isinstance(method, PromptMethod) else table.modality
        for modality in modalities:
            yield Trial(name, modality, method)


def _try(
    trial: Trial, stages: Stages, target: Weights, benchmark: Benchmark, config: RunConfig, exam: Exam, exam_key: str,
    record: Record,
) -> pd.DataFrame:  # fmt: skip
    """Apply one method to the target and examine what it left."""
    weights, system = target, None
    if isinstance(trial.method, PromptMethod):
        system = trial.method.system_prompt(tuple(person.name for person in benchmark.forget))
    elif trial.modality:
        weights = stages.unlearn(
            trial.label, target, trial.method, trial.modality, benchmark.forget, benchmark.retain, config.unlearn,
            config.seed,
        )  # fmt: skip
        _export(stages, record, trial.label, weights)
    answers = stages.examine(trial.label, weights, exam, exam_key, system)
    return _named(answers, trial.name, trial.modality, config.seed)


def _data(config: DataConfig, progress: Progress) -> Benchmark:
    if config.source != GENERATED:
        return load(Path(config.source), config.forget_percent)
    folder = cache_folder() / "data" / key_of("data", BUILDER_VERSION, config.people, config.celebrities, config.seed)
    if not folder.is_dir():
        with progress.task("data", 1) as advance:
            build(folder, people=config.people, celebrities=config.celebrities, seed=config.seed)
            advance(1)
    return load(folder, config.forget_percent)


def _exam(stages: Stages, benchmark: Benchmark, config: RunConfig) -> tuple[Exam, str]:
    """The questions every model is asked, and the key of everything that decides them."""
    retain, celebrities = config.data.retain_evaluated, config.data.celebrities_evaluated
    evaluation = config.evaluation.model_dump(exclude={"bootstrap"})
    exam = Exam(
        stages.vlm, benchmark, general_items(config.evaluation.general_items, config.data.seed), config.evaluation,
        retain_evaluated=retain, celebrities_evaluated=celebrities,
    )  # fmt: skip
    return exam, key_of("exam", benchmark.fingerprint, evaluation, config.data.seed, retain, celebrities)


def _named(answers: pd.DataFrame, method: str, modality: str, seed: int) -> pd.DataFrame:
    return answers.assign(method=method, modality=modality, seed=seed)


def _export(stages: Stages, record: Record, label: str, weights: Weights) -> None:
    """The weights into the run's folder: a whole model in the hub's format, or the LoRA adapter."""
    name = f"models/{label}"
    if name not in record:
        with record.replacing(name) as folder:
            stages.load(weights).save(folder)


def _show_portraits(record: Record, benchmark: Benchmark) -> None:
    """A few portraits for the report, the same people in every run of the data."""
    for person in (*benchmark.forget[:SHOWN_FORGET], *benchmark.retain[:SHOWN_RETAIN]):
        record.write_bytes(f"portraits/{person.id}.png", person.images[0])
