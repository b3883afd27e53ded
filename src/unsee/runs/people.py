"""A run about people, top to bottom: data, target and oracles, signal check, methods, scores and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from unsee.config.recipe import GENERATED, DataConfig, RunConfig, dump_config
from unsee.core.files import intact
from unsee.core.progress import Progress
from unsee.core.record import Record
from unsee.data.general import general_items
from unsee.data.images import preview
from unsee.data.pairs import PrivacyPair
from unsee.data.people.builder import BUILDER_VERSION, build
from unsee.data.people.enough import check_enough
from unsee.data.people.layout import num_forgotten
from unsee.data.people.refusal_pairs import people_pairs
from unsee.data.people.source import open_benchmark, pin
from unsee.data.schema import Benchmark, Person
from unsee.exams.metrics import make_metrics
from unsee.exams.people import Exam
from unsee.methods.base import LossMethod
from unsee.metrics.base import Metric
from unsee.models.vlm import VLM
from unsee.runs.method_runs import INPUTS, Material, check_layers, people_methods
from unsee.runs.replay import replay, resolve_replay
from unsee.runs.scenario import Applied, RunResult, Scenario, change_over_seeds, stages_of
from unsee.runs.stages import Stages
from unsee.runs.weights import Weights
from unsee.runtime.cache import Cache, key_of, make_folder
from unsee.runtime.distributed import create_record, state
from unsee.scoring.people import find_signal, score
from unsee.scoring.schema import BASE, RANDOM_WEIGHTS

SHOWN_FORGET, SHOWN_RETAIN = 4, 2


def run_people(config: RunConfig, out: Path | None, progress: Progress) -> RunResult:
    """Teach target and oracles, unlearn with every method of the recipe, examine and score.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    methods = list(people_methods(config.method, config.seed))
    metrics = make_metrics(config.evaluation, config.metric)
    if config.data.source == GENERATED:
        check_enough(num_forgotten(config.data.people, config.data.forget_percent), config.data.forget_percent)
    with state().main_process_first():
        config = config.model_copy(update={"data": pin(config.data)})
    vlm = VLM.load_as(config.model)
    config = config.model_copy(update={"teach": resolve_replay(vlm, config.teach, progress)})
    folder = out or Path("runs") / f"{config.name}-{key_of(config.model_dump())[:8]}"
    Record.check(folder, dump_config(config))
    cache = Cache(folder)
    check_layers(methods, vlm)
    with state().main_process_first():
        benchmark = _data(config.data, cache, progress)
    check_enough(len(benchmark.forget), config.data.forget_percent)
    record = create_record(folder, dump_config(config))
    stages = Stages(vlm, config.model, record, progress, replay, cache)
    compares = any(isinstance(run.method, LossMethod) and run.method.reference == "oracle" for run in methods)
    stages.plan(2 + 2 * (1 + config.teach.oracle_seeds) + compares + stages_of(methods), config.method)
    scenario = Scenario(record, stages, _exam(vlm, benchmark, config, metrics))
    _show_portraits(record, benchmark)

    scenario.examine(RANDOM_WEIGHTS, None, config.seed)
    scenario.examine(BASE, stages.base, config.seed)
    everybody = sorted((*benchmark.forget, *benchmark.retain), key=lambda person: person.id)
    target = _teach(scenario, "target", everybody, config, config.seed)
    oracles = [
        _teach(scenario, f"oracle_{number}" if number > 1 else "oracle", benchmark.retain, config, config.seed + number)
        for number in range(1, config.teach.oracle_seeds + 1)
    ]
    resamples = config.evaluation.bootstrap
    signal = find_signal(scenario.table(), resamples)
    signal.save(record, "signal.json")
    record.log("signal", signal=signal.signal)
    applied: dict[tuple[str, str], list[Applied]] = {}
    if signal.signal or not config.require_signal:
        reference = _reference(stages, benchmark, config) if compares else oracles[0]
        material = _material(benchmark, config, reference)
        for run, one in zip(methods, scenario.apply_all(methods, target, [material] * len(methods)), strict=True):
            applied.setdefault((run.name, run.modality), []).append(one)
    changes = {model: change for model, each in applied.items() if (change := change_over_seeds(each))}
    table = scenario.table()
    record.write_table("answers.parquet", table)
    scores = score(table, resamples, changes=changes, better=scenario.exam.better)
    return scenario.finish(scores, "ok" if signal.signal else "no signal", signal.reason)


def _teach(scenario: Scenario, name: str, people: Sequence[Person], config: RunConfig, seed: int) -> Weights:
    """Teach the base model some people, examine it, and write it into the run's folder."""
    weights = scenario.stages.teach(name, people, config.teach, seed)
    scenario.examine(name, weights, seed)
    scenario.export(name, weights)
    return weights


def _reference(stages: Stages, benchmark: Benchmark, config: RunConfig) -> Weights:
    """Teach the oracle that methods take as their reference: the run's first one, unless it has epochs of its own."""
    name = "oracle_reference" if config.teach.reference_epochs else "oracle"
    return stages.teach(name, benchmark.retain, config.teach.of_reference(), config.seed + 1)


def _material(benchmark: Benchmark, config: RunConfig, oracle: Weights) -> Material:
    """Return the data that methods work with."""

    def pairs(modality: str, seed: int) -> list[PrivacyPair]:
        return people_pairs(benchmark.forget, benchmark.retain, INPUTS[modality], seed)

    names = tuple(person.name for person in benchmark.forget)
    return Material(names, benchmark.forget, benchmark.retain, pairs, config.unlearn, oracle)


def _data(config: DataConfig, cache: Cache, progress: Progress) -> Benchmark:
    """Return the benchmark; if its people are generated, build it in the cache."""
    if config.source != GENERATED:
        return open_benchmark(config.source, config.forget_percent, config.training_text, config.format)
    key = key_of("data", BUILDER_VERSION, config.people, config.celebrities, config.seed)
    folder = cache.path("data", key)
    if not intact(folder):
        with progress.task("data", 1) as advance:
            make_folder(folder, partial(build, people=config.people, celebrities=config.celebrities, seed=config.seed))
            advance(1)
    return open_benchmark(str(folder), config.forget_percent)


def _exam(vlm: VLM, benchmark: Benchmark, config: RunConfig, metrics: Mapping[str, Metric]) -> Exam:
    """Return the exam of every model."""
    general = general_items(config.evaluation.general_items, config.data.seed)
    return Exam(
        vlm, benchmark, general, config.evaluation, metrics=metrics,
        retain_evaluated=config.data.retain_evaluated, celebrities_evaluated=config.data.celebrities_evaluated,
    )  # fmt: skip


def _show_portraits(record: Record, benchmark: Benchmark) -> None:
    """Write a few portraits for the report, of the same people in every run on these data."""
    for person in (*benchmark.forget[:SHOWN_FORGET], *benchmark.retain[:SHOWN_RETAIN]):
        record.write_bytes(f"portraits/{person.id}.png", preview(person.image()))
