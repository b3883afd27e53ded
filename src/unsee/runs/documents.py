"""A run about documents, top to bottom: pictures, the unedited model, methods, scores and report.

The target is the base model itself: it can read the private values in a picture and must learn not to reveal them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from unsee.config.recipe import DocumentsConfig, dump_config
from unsee.core.errors import ConfigError, DataError
from unsee.core.progress import Progress
from unsee.core.record import Record
from unsee.data.documents.export import as_pairs
from unsee.data.documents.schema import (
    FURTHER_HARMLESS,
    FURTHER_PRIVATE,
    HARMLESS_PICTURES,
    OUT_OF_DOMAIN,
    SEEN,
    SEEN_HARMLESS,
    SEEN_PRIVATE,
    UNSEEN_HARMLESS,
    UNSEEN_IMAGES,
    UNSEEN_SUBJECTS,
    VALIDATION,
    Case,
    PrivacyBenchmark,
    Query,
)
from unsee.data.documents.source import first_pictures, open_documents, with_other_benchmarks
from unsee.data.images import preview
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Benchmark, Person, Question
from unsee.edits.pair_rows import check_pairs
from unsee.exams.documents import PrivacyExam, judges_with
from unsee.exams.metrics import make_metrics
from unsee.exams.people import Exam
from unsee.exams.plan import general_questions
from unsee.methods.base import LossMethod, StatisticsMethod
from unsee.metrics.base import Metric
from unsee.models.vlm import VLM
from unsee.refusals.base import RefusalJudge
from unsee.report.documents import picture_name
from unsee.runs.method_runs import Material, MethodRun, check_layers, documents_methods
from unsee.runs.scenario import Examined, RunResult, Scenario, change_over_seeds, is_examined, table_of
from unsee.runs.stages import Stages
from unsee.runtime.cache import Cache, key_of
from unsee.runtime.distributed import create_record, open_record, state
from unsee.runtime.tasks import Results, Task
from unsee.scoring.documents import document_scores

_PRIVATE, _HARMLESS = (SEEN_PRIVATE, FURTHER_PRIVATE), (SEEN_HARMLESS, FURTHER_HARMLESS)
"""Subjects to learn from, in the order in which methods get them."""
_LEARNED_ASKED = 10
"""Pictures of harmless subjects to learn from that every model is asked about."""
SHOWN = {UNSEEN_IMAGES: 2, UNSEEN_SUBJECTS: 1, HARMLESS_PICTURES: 1}


def start_documents(config: DocumentsConfig, out: Path | None, progress: Progress) -> DocumentsRun:
    """Check a recipe, and begin its run or go on with it; nothing is computed but the data.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used; before anything is computed.
    """
    methods = list(documents_methods(config.method, config.seed))
    make_metrics(config.evaluation, config.metric)
    folder = out or Path("runs") / f"{config.name}-{key_of(config.model_dump(exclude={'resources'}))[:8]}"
    Record.check(folder, dump_config(config))
    cache = Cache(folder)
    with state().main_process_first():
        benchmark, edited_on = benchmark_of(config, cache, progress)
    seen = benchmark.of(SEEN)
    _judges(config)
    _check_answers(methods, seen)
    for run in methods:
        _further(benchmark, run)
    vlm = VLM.load_as(config.model)
    check_pairs(vlm, as_pairs(seen))
    check_layers(methods, vlm)
    record = create_record(folder, dump_config(config))
    if benchmark.skipped:
        record.log("skipped", missing_pictures=benchmark.skipped)
    if config.privacy.out_of_domain:
        record.log("out_of_domain", pictures=len(benchmark.of(OUT_OF_DOMAIN)), edited_on=edited_on)
    _show_pictures(record, benchmark)
    return DocumentsRun(config, vlm, benchmark, record, cache, progress)


def open_documents_run(config: DocumentsConfig, folder: Path, progress: Progress) -> DocumentsRun:
    """Open a run that another process has started, to compute some of its stages."""
    cache = Cache(folder)
    benchmark, _ = benchmark_of(config, cache, progress)
    return DocumentsRun(config, VLM.load_as(config.model), benchmark, open_record(folder), cache, progress)


class DocumentsRun:
    """A run about documents: edit the model with every method of the recipe, examine and score it.

    Args:
        config: the recipe.
        vlm: the model.
        benchmark: the pictures and their questions.
        record: the run's folder.
        cache: the cache of the run.
        progress: where long work is shown.

    Attributes:
        scenario: what computes its stages.
        tasks: all its stages, in order.
    """

    def __init__(
        self,
        config: DocumentsConfig,
        vlm: VLM,
        benchmark: PrivacyBenchmark,
        record: Record,
        cache: Cache,
        progress: Progress,
    ) -> None:
        self.config = config
        exam = _exam(vlm, benchmark, _judges(config), config, make_metrics(config.evaluation, config.metric))
        self.scenario = Scenario(record, Stages(vlm, config.model, record, progress, cache=cache), exam)
        self._methods = list(documents_methods(config.method, config.seed))
        self._benchmark = benchmark
        self._applied = [self._method_tasks(run) for run in self._methods]
        self.tasks = [
            self.scenario.examine("random_weights", config.seed),
            *itertools.chain.from_iterable(self._applied),
        ]
        self.scenario.stages.log.plan([task.name for task in self.tasks], config.method)

    def _method_tasks(self, run: MethodRun) -> list[Task]:
        def material(results: Results) -> Material:
            return material_of(self._benchmark, self.config, run)

        return self.scenario.apply(run, self.scenario.stages.base, material)

    def unwanted(self, results: Results) -> Collection[str]:
        """Return no task."""
        del results
        return ()

    def finish(self, results: Results) -> RunResult:
        """Score the answers and write the report."""
        table = table_of(results[task.name] for task in self.tasks if is_examined(task, results))
        self.scenario.record.write_table("answers.parquet", table)
        applied: dict[str, list[Examined]] = {}
        for run, tasks in zip(self._methods, self._applied, strict=True):
            applied.setdefault(run.name, []).append(results[tasks[-1].name])
        used = {name: method.use or name for name, method in self.config.method.items()}
        changes = {name: change for name, each in applied.items() if (change := change_over_seeds(each))}
        resamples, better = self.config.evaluation.bootstrap, self.scenario.exam.better
        scores = document_scores(table, used, changes, resamples, better=better)
        return self.scenario.finish(scores, "no signal" if scores.reason else "ok", scores.reason)


def benchmark_of(config: DocumentsConfig, cache: Cache, progress: Progress) -> tuple[PrivacyBenchmark, int]:
    """Return the benchmark with the pictures of other benchmarks, and how many of those are edited on."""
    own, others = open_documents(config.privacy, cache, progress), config.privacy.out_of_domain
    return with_other_benchmarks(own, others, skip_missing=config.privacy.skip_missing)


def _judges(config: DocumentsConfig) -> Mapping[str, RefusalJudge]:
    folder = config.privacy.classifier
    return judges_with({"classifier": {"folder": Path(folder)}} if folder else {})


def _check_answers(methods: Sequence[MethodRun], seen: Sequence[Case]) -> None:
    """Refuse methods that forget true answers if the data hold none, and those that need questions without picture.

    Raises:
        DataError: a private question has no true answer, or a method needs other questions.
    """
    unknown = next((case.id for case in seen for query in case.private if not query.answer), None)
    for run in methods:
        if unknown is not None and isinstance(run.method, LossMethod | StatisticsMethod):
            raise DataError(
                f"method.{run.name}: forgets true answers, and case {unknown} has none to its private questions; "
                "published data hold none, generated ones do"
            )
        if isinstance(run.method, StatisticsMethod) and "text" in run.method.inputs:
            raise DataError(
                f"method.{run.name}: compares questions with the picture and as text alone, and documents have none of "
                "the latter; use it in a run about people"
            )


def _exam(
    vlm: VLM,
    benchmark: PrivacyBenchmark,
    judges: Mapping[str, RefusalJudge],
    config: DocumentsConfig,
    metrics: Mapping[str, Metric],
) -> PrivacyExam:
    """Return the exam of every model."""
    settings = config.evaluation
    nobody = Benchmark(forget=(), test=(), retain=(), celebrity=(), fingerprint=benchmark.fingerprint())
    items = general_questions(settings, config.privacy.seed)
    general = Exam(vlm, nobody, items, settings, metrics=metrics)
    not_asked = VALIDATION, *_PRIVATE, *_HARMLESS, UNSEEN_HARMLESS
    cases = [case for case in benchmark.cases if case.split not in not_asked]
    if any(table.harmless for table in config.method.values()):
        learned = [case for case in benchmark.cases if case.split == SEEN_HARMLESS]
        cases += [*learned[:_LEARNED_ASKED], *(case for case in benchmark.cases if case.split == UNSEEN_HARMLESS)]
    return PrivacyExam(cases, general, judges, max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size)


def material_of(benchmark: PrivacyBenchmark, config: DocumentsConfig, run: MethodRun) -> Material:
    """Return the pictures that a method sees in the forms that it may take: as privacy pairs, and as people."""
    seen = first_pictures(benchmark.of(SEEN), run.given)
    given = [*seen, *_further(benchmark, run)]

    def pairs(modality: str, seed: int) -> list[PrivacyPair]:
        return as_pairs(given)

    return Material(
        names=tuple(dict.fromkeys(case.subject for case in given if case.private)),
        forget=[_lesson(case, case.private) for case in given if case.private],
        retain=[_lesson(case, case.benign) for case in given],
        pairs=pairs,
        unlearn=config.unlearn.model_copy(update={"retain_modality": "image"}),
        modality="image",
    )


def _further(benchmark: PrivacyBenchmark, run: MethodRun) -> list[Case]:
    """Return the pictures of further private subjects and of harmless ones that a method sees.

    Raises:
        ConfigError: the data have fewer such subjects.
    """
    found: list[Case] = []
    for splits, kind, wanted in ((_PRIVATE, "private", run.private), (_HARMLESS, "harmless", run.harmless)):
        cases = [case for split in splits for case in benchmark.cases if case.split == split]
        subjects = list(dict.fromkeys(case.subject for case in cases))
        if wanted > len(subjects):
            raise ConfigError(
                f"method.{run.name}.{kind}: must be at most {len(subjects)}, got {wanted}; the data hold pictures of "
                f"{len(subjects)} further {kind} subjects to learn from"
            )
        found += first_pictures([case for case in cases if case.subject in subjects[:wanted]], run.given)
    return found


def _lesson(case: Case, queries: Sequence[Query]) -> Person:
    """Return a picture with its questions and answers as a `Person`, the form that loss methods take."""
    taught = [Question(task="train", input="image", question=query.text, answer=query.answer) for query in queries]
    return Person(id=case.id, name=case.id, images=(case.image.read_bytes(),), questions=tuple(taught))


def _show_pictures(record: Record, benchmark: PrivacyBenchmark) -> None:
    """Write a few pictures for the report, one per subject, the same in every run on these data."""
    for split, count in SHOWN.items():
        cases = [case for case in benchmark.cases if case.split == split]
        first = {case.subject: case for case in reversed(cases)}
        for case in list(first.values())[:count]:
            record.write_bytes(f"pictures/{picture_name(case.id)}", preview(case.open()))
