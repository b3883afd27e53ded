"""One run about documents, top to bottom: pictures, the unedited model, every method, evaluation, record and report.

The target is the base model itself: what it can read off a passport is what it must learn not to say.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from unsee.runtime.cache import cache_folder, key_of, make_folder
from unsee.config.recipe import GENERATED, DocumentsConfig, OutOfDomainTable, PrivacyConfig, dump_config
from unsee.data.general import general_items
from unsee.data.pairs import PrivacyPair
from unsee.data.documents import PRIVACY
from unsee.data.documents.builder import BUILDER_VERSION, build
from unsee.data.documents.export import as_pairs
from unsee.data.documents.privacy_pair import load
from unsee.data.documents.schema import (
    HARMLESS_PICTURES,
    OUT_OF_DOMAIN,
    SEEN,
    UNSEEN_IMAGES,
    UNSEEN_SUBJECTS,
    VALIDATION,
    Case,
    PrivacyBenchmark,
    Query,
)
from unsee.data.schema import Benchmark, Person, Question
from unsee.runs.edit import check_pairs
from unsee.core.errors import ConfigError, DataError
from unsee.exams.people import Exam
from unsee.methods.base import LossMethod
from unsee.models.vlm import VLM
from unsee.exams.documents import PrivacyExam, judges_with
from unsee.runtime.distributed import state
from unsee.core.progress import Progress
from unsee.core.record import Record
from unsee.refusals.base import RefusalJudge
from unsee.scoring.documents import document_scores
from unsee.report.documents import picture_name
from unsee.report.people import write_report
from unsee.runs.stages import Stages, start_record
from unsee.runs.trials import (
    Material,
    RunResult,
    Trial,
    Tried,
    attempt,
    change_over_seeds,
    check_layers,
    control,
    documents_trials,
    named,
)

SHOWN = {UNSEEN_IMAGES: 2, UNSEEN_SUBJECTS: 1, HARMLESS_PICTURES: 1}


def run_documents(config: DocumentsConfig, out: Path | None, progress: Progress) -> RunResult:
    """Do everything the recipe says; what an earlier run already computed is not computed again.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used; before anything is computed.
    """
    trials = [control(config.seed), *documents_trials(config.method, config.seed)]
    folder = out or Path("runs") / f"{config.name}-{key_of(config.model_dump())[:8]}"
    Record.check(folder, dump_config(config))
    with state().main_process_first():
        benchmark = _benchmark(config.privacy, progress)
    seen = benchmark.of(SEEN)
    elsewhere = list(_out_of_domain(config.privacy.out_of_domain))
    foreign = _not_among(seen, elsewhere)
    benchmark = replace(benchmark, cases=(*benchmark.cases, *foreign))
    judges = judges_with({"classifier": {"folder": Path(config.privacy.classifier)}} if config.privacy.classifier else {})
    _check_answers(trials, seen)
    vlm = VLM.load_as(config.model)
    check_pairs(vlm, as_pairs(seen))
    check_layers(trials, vlm)
    record = start_record(folder, dump_config(config))
    if elsewhere:
        record.log("out_of_domain", pictures=len(foreign), edited_on=len(elsewhere) - len(foreign))
    stages = Stages(vlm, config.model, record, progress)
    exam, exam_key = _exam(vlm, benchmark, judges, config)
    _show_pictures(record, benchmark)

    answers = [named(stages.examine("random_weights", None, exam, exam_key), "random_weights", "", config.seed)]
    tried: dict[str, list[Tried]] = {}
    with progress.task("all methods", len(trials)) as advance:
        for trial in trials:
            material = _material(first_pictures(seen, trial.given), config)
            found = attempt(trial, stages, stages.base, material, exam, exam_key, record)
            answers += [named(found.answers, trial.name, "", trial.seed)]
            tried.setdefault(trial.name, []).append(found)
            advance(1)

    table = pd.concat(answers, ignore_index=True)
    record.write_table("answers.parquet", table)
    used = {name: method.use or name for name, method in config.method.items()}
    changes = {name: change for name, each in tried.items() if (change := change_over_seeds(each))}
    scores = document_scores(table, used, changes, config.evaluation.bootstrap)
    scores.save(record, "scores.json")
    record.log("finished", signal=not scores.reason)
    report = folder / "report.html"
    if state().is_main_process:
        write_report([folder], report)
    return RunResult(folder, report, "no signal" if scores.reason else "ok", scores.reason, scores)


def _benchmark(config: PrivacyConfig, progress: Progress) -> PrivacyBenchmark:
    unseen = config.unseen_subject or None
    if config.source != GENERATED:
        root = Path(config.image_root) if config.image_root else None
        return load(Path(config.source), root, unseen_subject=unseen)
    folder = cache_folder() / "documents" / key_of("documents", BUILDER_VERSION, config.images, config.seed, unseen)
    if not folder.is_dir():
        with progress.task("documents", 1) as advance:
            make_folder(folder, partial(build, images=config.images, seed=config.seed, unseen_subject=unseen))
            advance(1)
    return load(folder)


def _out_of_domain(tables: Mapping[str, OutOfDomainTable]) -> Iterator[Case]:
    """The cases of other benchmarks, with the benchmark's name in their ID.

    Raises:
        ConfigError: one has sets of its own.
        UnseeError: there is no such benchmark, or its data cannot be used.
    """
    for name, table in tables.items():
        cases = PRIVACY.get(name)().load(Path(table.source), Path(table.image_root) if table.image_root else None).cases
        if any(case.split != OUT_OF_DOMAIN for case in cases):
            raise ConfigError(f"privacy.out_of_domain.{name}: has sets of its own; give it as privacy.source")
        yield from (replace(case, id=f"{name}/{case.id}") for case in cases)


def _not_among(seen: Sequence[Case], cases: Sequence[Case]) -> list[Case]:
    """Those whose picture is not edited on, by content: what is measured on must not be."""
    edited = {hashlib.sha256(case.image.read_bytes()).digest() for case in seen} if cases else set()
    return [case for case in cases if hashlib.sha256(case.image.read_bytes()).digest() not in edited]


def _check_answers(trials: Sequence[Trial], seen: Sequence[Case]) -> None:
    """Refuse loss methods where nobody says what is to be forgotten.

    Raises:
        DataError: a private question has no true answer.
    """
    unknown = next((case.id for case in seen for query in case.private if not query.answer), None)
    for trial in trials:
        if unknown is not None and isinstance(trial.method, LossMethod):
            raise DataError(
                f"method.{trial.name}: forgets true answers, and case {unknown} has none to its private questions; "
                "published data hold none, generated ones do"
            )


def _exam(
    vlm: VLM, benchmark: PrivacyBenchmark, judges: Mapping[str, RefusalJudge], config: DocumentsConfig
) -> tuple[PrivacyExam, str]:
    """The questions every model is asked, and the key of everything that decides them."""
    settings = config.evaluation
    nobody = Benchmark(forget=(), test=(), retain=(), celebrity=(), fingerprint=benchmark.fingerprint())
    general = Exam(vlm, nobody, general_items(settings.general_items, config.privacy.seed), settings)
    cases = [case for case in benchmark.cases if case.split != VALIDATION]
    exam = PrivacyExam(cases, general, judges, max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size)
    return exam, key_of(
        "documents exam", nobody.fingerprint, settings.model_dump(exclude={"bootstrap"}), config.privacy.seed,
        sorted(judges), *(judge.fingerprint() for judge in judges.values()),
    )  # fmt: skip


def first_pictures(cases: Sequence[Case], count: int) -> list[Case]:
    """The first so many pictures of each subject; all for 0."""
    subjects = [case.subject for case in cases]
    return [case for number, case in enumerate(cases) if not count or subjects[:number].count(case.subject) < count]


def _material(seen: Sequence[Case], config: DocumentsConfig) -> Material:
    """What methods are given: the pictures edited on, as pairs or as somebody with questions."""

    def pairs(modality: str, seed: int) -> list[PrivacyPair]:
        return as_pairs(seen)

    return Material(
        names=tuple(dict.fromkeys(case.subject for case in seen)),
        forget=[_lesson(case, case.private) for case in seen],
        retain=[_lesson(case, case.benign) for case in seen],
        pairs=pairs,
        unlearn=config.unlearn.model_copy(update={"retain_modality": "image"}),
    )


def _lesson(case: Case, queries: Sequence[Query]) -> Person:
    """A picture with questions and answers, in the form in which loss methods are given people."""
    taught = [Question(task="train", input="image", question=query.text, answer=query.answer) for query in queries]
    return Person(id=case.id, name=case.id, images=(case.image.read_bytes(),), questions=tuple(taught))


def _show_pictures(record: Record, benchmark: PrivacyBenchmark) -> None:
    """A few pictures for the report, one subject after another, the same in every run of the data."""
    for split, count in SHOWN.items():
        cases = [case for case in benchmark.cases if case.split == split]
        first = {case.subject: case for case in reversed(cases)}
        for case in list(first.values())[:count]:
            file = io.BytesIO()
            case.open().save(file, "PNG")
            record.write_bytes(f"pictures/{picture_name(case.id)}", file.getvalue())
