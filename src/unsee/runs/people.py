"""One run about people, top to bottom: data, target and oracles, gate, methods, evaluation, record and report.

A run about documents has its own file, `documents_run`; how methods are tried is the same for both: `trials`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from unsee.runtime.cache import cache_folder, key_of, make_folder
from unsee.config.recipe import (
    GENERATED,
    DataConfig,
    DocumentsConfig,
    EvaluationConfig,
    RunConfig,
    dump_config,
)
from unsee.data.people.builder import BUILDER_VERSION, build
from unsee.data.general import general_items
from unsee.data.pairs import PrivacyPair
from unsee.data.people.refusal_pairs import people_pairs
from unsee.data.schema import Benchmark
from unsee.data.people.source import open_benchmark, pin
from unsee.runs.documents import run_documents
from unsee.exams.people import Exam
from unsee.models.vlm import VLM
from unsee.runtime.distributed import state
from unsee.core.progress import Progress, Silent
from unsee.core.record import ANSWER_COLUMNS, Record
from unsee.report.people import write_report
from unsee.scoring.people import cells, gate, score
from unsee.scoring.table import written
from unsee.runs.stages import INPUTS, Stages, Weights, check_replay, start_record
from unsee.runs.trials import (
    Material,
    RunResult,
    attempt,
    change_over_seeds,
    check_layers,
    export,
    named,
    people_trials,
)

SHOWN_FORGET, SHOWN_RETAIN = 4, 2


class CellRow(NamedTuple):
    """One cell of one model, as text."""

    set: str
    task: str
    input: str
    metric: str
    value: str
    chance: str
    floor: str
    invalid: str
    items: str


def run(config: RunConfig | DocumentsConfig, out: Path | None = None, progress: Progress | None = None) -> RunResult:
    """Do everything the recipe says; what an earlier run already computed is not computed again.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    progress = progress or Silent()
    if isinstance(config, DocumentsConfig):
        return run_documents(config, out, progress)
    trials = list(people_trials(config.method, config.seed))
    with state().main_process_first():
        config = config.model_copy(update={"data": pin(config.data)})
    folder = out or Path("runs") / f"{config.name}-{key_of(config.model_dump())[:8]}"
    Record.check(folder, dump_config(config))
    vlm = VLM.load_as(config.model)
    check_replay(vlm, config.teach)
    check_layers(trials, vlm)
    with state().main_process_first():
        benchmark = _data(config.data, progress)
    record = start_record(folder, dump_config(config))
    stages = Stages(vlm, config.model, record, progress)
    exam, exam_key = _exam(stages, benchmark, config)
    _show_portraits(record, benchmark)

    answers = [named(stages.examine("random_weights", None, exam, exam_key), "random_weights", "", config.seed)]
    everybody = sorted((*benchmark.forget, *benchmark.retain), key=lambda person: person.id)
    target = stages.teach("target", everybody, config.teach, config.seed)
    answers += [named(stages.examine("target", target, exam, exam_key), "target", "", config.seed)]
    export(stages, record, "target", target)
    oracles = []
    for index in range(config.teach.oracle_seeds):
        name = "oracle" if index == 0 else f"oracle_{index + 1}"
        oracles.append(stages.teach(name, benchmark.retain, config.teach, config.seed + 1 + index))
        answers += [named(stages.examine(name, oracles[-1], exam, exam_key), name, "", config.seed + 1 + index)]
        export(stages, record, name, oracles[-1])
    resamples = config.evaluation.bootstrap
    found = gate(pd.concat(answers), resamples)
    found.save(record, "gate.json")
    record.log("gate", signal=found.signal)
    material, changes = _material(benchmark, config, oracles[0]), {}
    if found.signal:
        with progress.task("all methods", len(trials)) as advance:
            for trial in trials:
                tried = attempt(trial, stages, target, material, exam, exam_key, record)
                answers += [named(tried.answers, trial.name, trial.modality, trial.seed)]
                if change := change_over_seeds([tried]):
                    changes[trial.name, trial.modality] = change
                advance(1)

    table = pd.concat(answers, ignore_index=True)
    record.write_table("answers.parquet", table[list(ANSWER_COLUMNS)])
    scores = score(table, resamples, changes=changes)
    scores.save(record, "scores.json")
    record.log("finished", signal=found.signal)
    report = folder / "report.html"
    if state().is_main_process:
        write_report([folder], report)
    return RunResult(folder, report, "ok" if found.signal else "no signal", found.reason, scores)


def evaluate_model(
    model: str,
    data: str,
    forget_percent: int,
    progress: Progress | None = None,
    config: EvaluationConfig | None = None,
    processor: str = "",
    format: str = "mllmu",
) -> list[CellRow]:
    """Ask one model all questions of a data folder; the rows are its cells, intervals over people.

    Args:
        model: a shipped model's name, a folder or a hub id.
        data: as `data.source` of a recipe.
        forget_percent: which forget set.
        progress: where long work is shown.
        config: how it is asked; by default the clean protocol.
        processor: whose processor the model takes, if it has none.
        format: as `data.format` of a recipe.

    Raises:
        UnseeError: the model or the data cannot be used.
    """
    benchmark = open_benchmark(data, forget_percent, format=format)
    vlm = VLM.load(model, processor=processor)
    config = config or EvaluationConfig()
    exam = Exam(vlm, benchmark, general_items(config.general_items, 0), config)
    answers = named(exam.sit(vlm, name=model, progress=progress), model, "", 0)
    return [
        CellRow(
            cell.set, cell.task, cell.input, cell.metric, written(cell, digits=3),
            "" if cell.chance is None else f"{cell.chance:.2f}", "" if cell.floor is None else f"{cell.floor:.3f}",
            f"{cell.invalid:.2f}", str(cell.n_items),
        )
        for cell in cells(answers)
    ]  # fmt: skip


def _material(benchmark: Benchmark, config: RunConfig, oracle: Weights) -> Material:
    """What methods are given of the people."""

    def pairs(modality: str, seed: int) -> list[PrivacyPair]:
        return people_pairs(benchmark.forget, benchmark.retain, INPUTS[modality], seed)

    names = tuple(person.name for person in benchmark.forget)
    return Material(names, benchmark.forget, benchmark.retain, pairs, config.unlearn, oracle)


def _data(config: DataConfig, progress: Progress) -> Benchmark:
    if config.source != GENERATED:
        return open_benchmark(config.source, config.forget_percent, config.training_text, config.format)
    folder = cache_folder() / "data" / key_of("data", BUILDER_VERSION, config.people, config.celebrities, config.seed)
    if not folder.is_dir():
        with progress.task("data", 1) as advance:
            make_folder(folder, partial(build, people=config.people, celebrities=config.celebrities, seed=config.seed))
            advance(1)
    return open_benchmark(str(folder), config.forget_percent)


def _exam(stages: Stages, benchmark: Benchmark, config: RunConfig) -> tuple[Exam, str]:
    """The questions every model is asked, and the key of everything that decides them."""
    retain, celebrities = config.data.retain_evaluated, config.data.celebrities_evaluated
    evaluation = config.evaluation.model_dump(exclude={"bootstrap"})
    exam = Exam(
        stages.vlm, benchmark, general_items(config.evaluation.general_items, config.data.seed), config.evaluation,
        retain_evaluated=retain, celebrities_evaluated=celebrities,
    )  # fmt: skip
    return exam, key_of("exam", benchmark.fingerprint, evaluation, config.data.seed, retain, celebrities)


def _show_portraits(record: Record, benchmark: Benchmark) -> None:
    """A few portraits for the report, the same people in every run of the data."""
    for person in (*benchmark.forget[:SHOWN_FORGET], *benchmark.retain[:SHOWN_RETAIN]):
        record.write_bytes(f"portraits/{person.id}.png", person.images[0])
