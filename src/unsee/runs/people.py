"""A run about people, top to bottom: data, target and oracles, signal check, methods, scores and report."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from unsee.config.recipe import GENERATED, DataConfig, RunConfig, dump_config
from unsee.core.files import intact
from unsee.core.progress import Progress
from unsee.core.record import ATTACKS_FILE, LIKELIHOODS_FILE, Record
from unsee.data.images import preview
from unsee.data.pairs import PrivacyPair
from unsee.data.people.builder import BUILDER_VERSION, build
from unsee.data.people.enough import check_enough
from unsee.data.people.layout import PERCENTS, num_forgotten
from unsee.data.people.refusal_pairs import people_pairs
from unsee.data.people.source import OWN_FORMAT, open_benchmark, pin
from unsee.data.people.strangers import NUM_STRANGERS, invent_strangers
from unsee.data.schema import Benchmark, Person
from unsee.exams.metrics import make_metrics
from unsee.exams.people import Exam
from unsee.exams.plan import general_questions
from unsee.methods.base import LossMethod
from unsee.metrics.base import Metric
from unsee.models.vlm import VLM
from unsee.report.shown_people import introduced
from unsee.runs.attacker import Attacker, AttackRun, attacks_of, scope_of_run
from unsee.runs.continual import Continual
from unsee.runs.method_runs import INPUTS, Material, MethodRun, check_layers, people_methods
from unsee.runs.replay import replay
from unsee.runs.scenario import EVALUATION_COST, Examined, RunResult, Scenario, change_over_seeds, is_examined, table_of
from unsee.runs.stages import Stages
from unsee.runs.victims import TARGET, Victim, respondent_of, victims_of
from unsee.runs.weights import Weights
from unsee.runtime.cache import Cache, key_of, make_folder
from unsee.runtime.distributed import create_record, open_record, state
from unsee.runtime.tasks import Results, Task
from unsee.scoring.attacks import with_attacks
from unsee.scoring.memorisation import measures
from unsee.scoring.people import ScoredRun, find_signal, score_runs
from unsee.scoring.schema import BASE, RANDOM_WEIGHTS, Scores
from unsee.scoring.signal import Signal

SHOWN_FORGET, SHOWN_RETAIN = 4, 2


def start_people(config: RunConfig, out: Path | None, progress: Progress) -> PeopleRun:
    """Check a recipe, and begin its run or go on with it; nothing is computed but the data.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    methods = list(people_methods(config.method, config.seed))
    attacks_of(config.attack)
    make_metrics(config.evaluation, config.metric)
    if config.data.source == GENERATED:
        check_enough(num_forgotten(config.data.people, config.data.forget_percent), config.data.forget_percent)
    with state().main_process_first():
        config = config.model_copy(update={"data": pin(config.data)})
    vlm = VLM.load_as(config.model)
    folder = out or Path("runs") / f"{config.name}-{key_of(config.model_dump(exclude={'resources'}))[:8]}"
    Record.check(folder, dump_config(config))
    cache = Cache(folder)
    check_layers(methods, vlm)
    with state().main_process_first():
        benchmark = benchmark_of(config.data, cache, progress)
    check_enough(len(benchmark.forget), config.data.forget_percent)
    record = create_record(folder, dump_config(config))
    for note in benchmark.notes:
        progress.say(f"data: {note}")
        record.log("data", note=note)
    _show_portraits(record, benchmark)
    return PeopleRun(config, vlm, benchmark, record, cache, progress)


def open_people(config: RunConfig, folder: Path, progress: Progress) -> PeopleRun:
    """Open a run that another process has started, to compute some of its stages."""
    cache = Cache(folder)
    benchmark = benchmark_of(config.data, cache, progress)
    return PeopleRun(config, VLM.load_as(config.model), benchmark, open_record(folder), cache, progress)


@dataclass(frozen=True)
class Attacked:
    """The result of an attack on one model: its answers."""

    answers: pd.DataFrame


class PeopleRun:
    """A run about people: teach target and oracles, unlearn with every method of the recipe, examine and score.

    Args:
        config: the recipe, with everything settled that depends on the model or the data.
        vlm: the base model.
        benchmark: the people and their questions.
        record: the run's folder.
        cache: the cache of the run.
        progress: where long work is shown.

    Attributes:
        scenario: what computes its stages.
        tasks: all its stages, in order.
    """

    def __init__(
        self, config: RunConfig, vlm: VLM, benchmark: Benchmark, record: Record, cache: Cache, progress: Progress
    ) -> None:
        self.config = config
        self._benchmark = benchmark
        exam = _exam(vlm, benchmark, config, make_metrics(config.evaluation, config.metric))
        self.scenario = Scenario(record, Stages(vlm, config.model, record, progress, replay, cache), exam)
        self._methods = list(people_methods(config.method, config.seed))
        self._controls = self._control_tasks()
        self._applied = [self._method_tasks(run) for run in self._methods]
        self._attacker = Attacker(self.scenario.stages, scope_of_run(exam, benchmark, config))
        self._attacks = [task for run in attacks_of(config.attack) for task in self._attack_tasks(run)]
        self._continual = Continual(
            self.scenario, benchmark.forget, benchmark.retain, config.requests, config.seed, self._methods, self._teach,
            lambda forget: material_of(benchmark, config, forget=forget), insists=not config.require_signal,
        )  # fmt: skip
        self._further = [*self._continual.tasks, *self._attacks]
        self.tasks = [*self._controls, *itertools.chain.from_iterable(self._applied), *self._further]
        self.scenario.stages.log.plan([task.name for task in self.tasks], config.method)
        self._signal: Signal | None = None
        self._introduced = False

    def _control_tasks(self) -> list[Task]:
        config, scenario = self.config, self.scenario
        everybody = sorted((*self._benchmark.forget, *self._benchmark.retain), key=lambda person: person.id)
        tasks = [
            replace(scenario.examine(BASE, config.seed, weights=scenario.stages.base), early=True),
            scenario.examine(RANDOM_WEIGHTS, config.seed),
            *self._teach("target", everybody, config.seed),
        ]
        for number in range(1, config.teach.oracle_seeds + 1):
            name = f"oracle_{number}" if number > 1 else "oracle"
            tasks += self._teach(name, self._benchmark.retain, config.seed + number)
        return tasks

    def _teach(self, name: str, people: Sequence[Person], seed: int) -> list[Task]:
        """Return the tasks of teaching the base model some people, with its export, and of examining it."""

        def compute(results: Results) -> Weights:
            weights = self.scenario.stages.teach(name, people, self.config.teach, seed)
            self.scenario.stages.export(f"models/{name}", weights)
            return weights

        cost = self.config.teach.steps or self.config.teach.epochs * len(people)  # a pass over one person: about a step
        teach = Task(f"teach {name}", (), compute, float(cost), vital=True)
        return [teach, self.scenario.examine(name, seed, teach.name)]

    def _method_tasks(self, run: MethodRun) -> list[Task]:
        """Return the tasks of one method, and before them that of its reference if no method before it has one."""
        if not _compares(run):
            return self.scenario.apply(run, "teach target", lambda results: material_of(self._benchmark, self.config))
        first = next(other for other in self._methods if _compares(other))
        reference = "teach oracle_reference" if self.config.teach.reference_epochs else "teach oracle"

        def teach(results: Results) -> Weights:
            config = self.config.teach.of_reference()
            return self.scenario.stages.teach("oracle_reference", self._benchmark.retain, config, self.config.seed + 1)

        own = run is first and reference == "teach oracle_reference"
        before = [Task(reference, (), teach, float(self.config.teach.steps))] if own else []

        def material(results: Results) -> Material:
            return material_of(self._benchmark, self.config, results[reference])

        return before + self.scenario.apply(run, "teach target", material, (reference,))

    def _attack_tasks(self, run: AttackRun) -> list[Task]:
        """Return the tasks of one attack, one for each model."""

        def attack(victim: Victim, results: Results) -> Attacked:
            material = material_of(self._benchmark, self.config)
            model = respondent_of(victim, results[victim.made_by], results[TARGET], material)
            answers = self._attacker.answers(run, model)
            return Attacked(answers.assign(method=victim.method, modality=victim.modality, seed=victim.seed))

        victims = victims_of(
            self._methods, self.config.attack[run.name], self.config.seed, self.config.teach.oracle_seeds
        )
        return [
            Task(
                f"attack {one.label} {run.name}",
                tuple(dict.fromkeys((one.made_by, TARGET))),
                partial(attack, one),
                EVALUATION_COST,
            )
            for one in victims
        ]

    def unwanted(self, results: Results) -> Collection[str]:
        """Return the methods as soon as target and oracles are known to have no signal, unless the recipe insists.

        As soon as the base model is asked about generated people, some of its answers are shown.
        """
        base, generated = results.get(f"evaluate {BASE}"), self.config.data.source == GENERATED
        if base and generated and not self._introduced:
            self._introduced = True
            forget, retain = self._benchmark.forget, self._benchmark.retain
            for line in introduced(base.answers, len(forget), len(retain)):
                self.scenario.stages.log.progress.say(line)
        if self._signal is None and all(task.name in results for task in self._controls):
            self._signal = self._find_signal(results)
        if self._signal is None or self._signal.signal or not self.config.require_signal:
            return ()
        return [task.name for task in (*itertools.chain.from_iterable(self._applied), *self._further)]

    def _find_signal(self, results: Results) -> Signal:
        """Compare target and oracle, and write down what was found."""
        controls = table_of(results[task.name] for task in self._controls if is_examined(task, results))
        signal = find_signal(controls, self.config.evaluation.bootstrap)
        signal.save(self.scenario.record, "signal.json")
        self.scenario.record.log("signal", signal=signal.signal)
        return signal

    def finish(self, results: Results) -> RunResult:
        """Score the answers and write the report."""
        signal, resamples = self._signal or self._find_signal(results), self.config.evaluation.bootstrap
        asked = [*self._controls, *itertools.chain.from_iterable(self._applied)]
        table = table_of(results[task.name] for task in asked if is_examined(task, results))
        self.scenario.record.write_table("answers.parquet", table)
        applied: dict[tuple[str, str], list[Examined]] = {}
        for run, tasks in zip(self._methods, self._applied, strict=True):
            if is_examined(tasks[-1], results):
                applied.setdefault((run.name, run.modality), []).append(results[tasks[-1].name])
        changes = {model: change for model, each in applied.items() if (change := change_over_seeds(each))}
        scored = ScoredRun(table, resamples)
        scores = score_runs([scored], changes, self.scenario.exam.better)
        return self.scenario.finish(
            self._attacked(scores, scored, results).model_copy(
                update={"requests": self._continual.results(table, results, resamples)}
            ),
            "ok" if signal.signal else "no signal",
            signal.reason,
        )

    def _attacked(self, scores: Scores, scored: ScoredRun, results: Results) -> Scores:
        """Return the scores with what the attacks found, and write down its answers."""
        every = (results[task.name].answers for task in self._attacks if task.name in results)
        found = [table for table in every if len(table)]
        read = [table for table in found if "loss" in table]
        asked = [table for table in found if "loss" not in table]
        if asked:
            attacks = pd.concat(asked, ignore_index=True)
            self.scenario.record.write_table(ATTACKS_FILE, attacks)
            scores = with_attacks(scores, [scored], [attacks])
        if read:
            likelihoods = pd.concat(read, ignore_index=True).astype({"question": str})  # a number in some attacks
            self.scenario.record.write_table(LIKELIHOODS_FILE, likelihoods)
            found_measures = measures(likelihoods, self.config.evaluation.bootstrap)
            scores = scores.model_copy(update={"measures": found_measures})
        return scores


def _compares(run: MethodRun) -> bool:
    """Return True if a method compares with an oracle."""
    return isinstance(run.method, LossMethod) and run.method.reference == "oracle"


def benchmark_of(config: DataConfig, cache: Cache, progress: Progress) -> Benchmark:
    """Return the benchmark; if its people are generated, build it in the cache."""
    if config.source != GENERATED:
        return open_benchmark(config.source, config.forget_percent, config.training_text, config.format, config.options)
    percents = PERCENTS if config.forget_percent in PERCENTS else (config.forget_percent,)
    further = [] if percents is PERCENTS else [percents]
    key = key_of("data", BUILDER_VERSION, config.people, config.celebrities, config.seed, *further)
    folder = cache.path("data", key)
    if not intact(folder):
        with progress.task("data", 1) as advance:
            make = partial(
                build, people=config.people, celebrities=config.celebrities, seed=config.seed, percents=percents
            )
            make_folder(folder, make)
            advance(1)
    return open_benchmark(str(folder), config.forget_percent, format=OWN_FORMAT)


def material_of(
    benchmark: Benchmark, config: RunConfig, oracle: Weights | None = None, forget: Sequence[Person] = ()
) -> Material:
    """Return the data that methods work with; `forget` are some of the people to forget, by default all."""
    everybody, retain = benchmark.forget, benchmark.retain
    forget = forget or everybody

    def pairs(modality: str, seed: int) -> list[PrivacyPair]:
        return people_pairs(forget, retain, INPUTS[modality], seed)

    strangers = invent_strangers(NUM_STRANGERS, [person.name for person in (*everybody, *retain)])
    names = tuple(person.name for person in forget)
    return Material(names, forget, retain, pairs, config.unlearn, oracle, strangers=strangers)


def _exam(vlm: VLM, benchmark: Benchmark, config: RunConfig, metrics: Mapping[str, Metric]) -> Exam:
    """Return the exam of every model."""
    return Exam(
        vlm, benchmark, general_questions(config.evaluation, config.data.seed), config.evaluation, metrics=metrics,
        retain_evaluated=config.data.retain_evaluated, celebrities_evaluated=config.data.celebrities_evaluated,
    )  # fmt: skip


def _show_portraits(record: Record, benchmark: Benchmark) -> None:
    """Write a few portraits for the report, of the same people in every run on these data."""
    for person in (*benchmark.forget[:SHOWN_FORGET], *benchmark.retain[:SHOWN_RETAIN]):
        record.write_bytes(f"portraits/{person.id}.png", preview(person.image()))
