"""The engine of attacks, and the models of a run about people that are attacked, all with the same questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from unsee.attacks import ATTACKS
from unsee.attacks.base import (
    Asking,
    Attack,
    Lessons,
    LikelihoodAttack,
    QuestionAttack,
    StateAttack,
    TrainingAttack,
    WeightAttack,
)
from unsee.config.protocols import TrainingConfig
from unsee.config.recipe import GENERATED, AttackOptions, AttackTable, Modality, RunConfig, build_dataclass
from unsee.core.errors import ConfigError, ModelError
from unsee.core.source import source_hash
from unsee.data.people.facts import halves_of
from unsee.data.people.questions import training_text
from unsee.data.people.strangers import invent_strangers
from unsee.data.schema import Benchmark, Input, Person
from unsee.exams.attacked import AttackedExams
from unsee.exams.likelihoods import LikelihoodExam
from unsee.exams.people import Exam
from unsee.exams.plan import Item
from unsee.exams.states import StatesExam
from unsee.methods.base import Guard, GuardMethod, PromptMethod
from unsee.models.vlm import VLM
from unsee.runs.method_runs import INPUTS, Material, MethodRun
from unsee.runs.stages import TRAINING, Stages, content_of
from unsee.runs.streams import make_stream
from unsee.runs.weights import Weights
from unsee.runtime.cache import key_of
from unsee.scoring.schema import DO_NOTHING
from unsee.training.batches import MakeRows
from unsee.training.lessons import FineTuning
from unsee.training.lessons import Lessons as TrainingText
from unsee.training.train import Schedule, StopRule, train

TEXT_ROWS = 64
"""Rows of text about nobody in one epoch of a training attack."""


@dataclass(frozen=True)
class AttackRun:
    """One attack of a recipe.

    Attributes:
        name: of the attack.
        attack: the attack with its options.
    """

    name: str
    attack: Attack


@dataclass(frozen=True)
class Respondent:
    """A model under attack, with what answers in its place.

    Attributes:
        label: its name in the log.
        weights: its weights.
        system: its system prompt.
        guard: answers some questions before the model sees them.
        made_by: what system prompt and guard come from, for the key of the answers.
    """

    label: str
    weights: Weights
    system: str = ""
    guard: Guard | None = field(default=None, compare=False)
    made_by: object = None


def attacks_of(tables: Mapping[str, AttackOptions]) -> list[AttackRun]:
    """Return the attacks of a recipe.

    Raises:
        UnknownNameError: no attack has this name.
        ConfigError: an option cannot be used.
    """
    return [
        AttackRun(name, build_dataclass(ATTACKS.get(name), table.options, f"attack.{name}"))
        for name, table in tables.items()
    ]


@dataclass(frozen=True)
class Scope:
    """What attacks ask about, and what they may train on.

    Attributes:
        exam: an exam that holds the questions under attack.
        sets: their sets.
        people: everybody whom they are about.
        taught: the people to train on, by what a training attack asks for; it does without what is missing or empty.
        has_text: training on text about nobody is wanted, if there is some.
        is_asked: tells whether an item is asked after a training.
        retain: people to keep, for examples.
        training: how a training step is made up.
        modality: how training text asks: with the photo, by name, or both.
        learning_rate: of training attacks that name none.
        seed: of everything that is drawn.
        likelihoods: makes the exam of an attack that reads likelihoods; None where there is nobody to compare with.
    """

    exam: Exam
    sets: Sequence[str]
    people: Sequence[Person]
    taught: Mapping[Lessons, Sequence[Person]]
    has_text: bool
    is_asked: Callable[[Lessons, Item], bool]
    retain: Sequence[Person]
    training: TrainingConfig
    modality: Modality
    learning_rate: float
    seed: int
    likelihoods: Callable[[VLM, LikelihoodAttack], LikelihoodExam] | None = None


def scope_of_run(exam: Exam, benchmark: Benchmark, config: RunConfig) -> Scope:
    """Return the scope of a run: the people to forget, halves of whose facts are taught and asked about."""
    halves, teach = halves_of(benchmark.forget, config.seed), config.teach
    forget, retain = benchmark.forget, benchmark.retain

    def likelihoods(vlm: VLM, attack: LikelihoodAttack) -> LikelihoodExam:
        strangers: list[Person] = []
        if config.data.source == GENERATED:
            strangers = invent_strangers(attack.strangers, [person.name for person in (*forget, *retain)])
        return LikelihoodExam(vlm, forget, retain, strangers, teach.protocol, attack.others, config.seed)

    return Scope(
        exam=exam, sets=("forget",), people=forget, taught={"facts": halves.taught, "people": retain},
        has_text=teach.replay > 0, is_asked=lambda lessons, item: item.question in halves.asked[item.unit],
        retain=retain, training=teach, modality=teach.modality, learning_rate=teach.learning_rate, seed=config.seed,
        likelihoods=likelihoods,
    )  # fmt: skip


class Attacker:
    """Runs attacks on models.

    Args:
        stages: loads the models and keeps what is computed.
        scope: what is asked, and what may be trained on.
    """

    def __init__(self, stages: Stages, scope: Scope) -> None:
        self._stages = stages
        self._scope = scope
        self._exams = AttackedExams(stages.vlm, scope.exam, scope.people, scope.retain, scope.seed, scope.sets)
        self._plain = self._exams.plain()
        self._made: dict[tuple[str, str], Exam] = {}
        self._read: dict[LikelihoodAttack, LikelihoodExam] = {}
        self._inside: StatesExam | None = None

    def answers(self, run: AttackRun, model: Respondent) -> pd.DataFrame:
        """Return the answers of a model under an attack.

        Returns:
            The columns of an exam, and `attack`, `variant` and `budget`: the number of training steps, or 0. No rows if
            no question can be asked in this way, as about pictures where there are none.
        """
        modules = [
            type(run.attack).__module__, __name__, AttackedExams.__module__, LikelihoodExam.__module__,
            StatesExam.__module__, *TRAINING,
        ]  # fmt: skip
        settings: Any = run.attack
        scope = self._scope
        key = key_of(
            "attack", model.weights.key, model.system, model.made_by, run.name, asdict(settings), self._plain.key,
            scope.seed, self._stages.trained_part(), scope.training.model_dump(), scope.learning_rate,
            [[lessons, *map(content_of, people)] for lessons, people in scope.taught.items()], self._stages.code,
            [source_hash(module) for module in modules],
        )  # fmt: skip
        path, log = self._stages.cache.path("answers", f"{key}.parquet"), self._stages.log
        with log.stage("attack", f"{model.label} {run.name}"), log.missing(path) as is_missing:
            if is_missing:
                with log.progress.task(run.name, self._num_variants(run.attack)) as advance:
                    parts = []
                    for variant, budget, answers in self._attacked(run, model):
                        parts.append(answers.assign(attack=run.name, variant=variant, budget=budget))
                        advance(1)
                asked = [part for part in parts if len(part)]
                whole = pd.concat(asked, ignore_index=True) if asked else pd.DataFrame()
                self._stages.cache.keep(path, lambda part: whole.to_parquet(part, index=False))
            else:
                log.say_cached()
            return pd.read_parquet(path)

    def _num_variants(self, attack: Attack) -> int:
        match attack:
            case QuestionAttack():
                return len(attack.askings)
            case WeightAttack():
                return len(attack.variants)
            case TrainingAttack():
                return len(attack.budgets) * len(self._trainings(attack))
            case LikelihoodAttack() | StateAttack():
                return 1

    def _attacked(self, run: AttackRun, model: Respondent) -> Iterator[tuple[str, int, pd.DataFrame]]:
        """Yield variant, budget and answers."""
        match run.attack:
            case QuestionAttack():
                for variant, asking in run.attack.askings.items():
                    if asking.system and not _takes_system(self._stages.vlm, asking.system):
                        self._stages.log.log("attack left out", variant=variant, reason="no system prompt")
                        continue
                    exam = self._asking(run.name, run.attack, variant, asking)
                    yield variant, 0, self._ask(self._stages.load(model.weights), exam, model, asking.system)
            case WeightAttack() if self._stages.config.quantization == "none":  # weights of 4 bits are packed
                for variant in run.attack.variants:
                    with self._stages.loaded.spoiled(model.weights) as vlm:
                        for name in vlm.lora_modules("decoder+projector"):
                            weight: Any = vlm.model.get_submodule(name).weight
                            weight.data = run.attack.change(variant, weight.data)
                        yield variant, 0, self._ask(vlm, self._plain, model)
            case TrainingAttack():
                for variant, lessons in self._trainings(run.attack).items():
                    for budget, answers in self._trained(run, run.attack, lessons, model):
                        yield variant, budget, answers
            case LikelihoodAttack():
                read = self._likelihoods(run.attack)
                yield "", 0, read.examine(self._stages.load(model.weights), name=model.label)
            case StateAttack():
                self._inside = self._inside or StatesExam(self._stages.vlm, self._scope.exam, self._scope.seed)
                for variant, answers in self._inside.examine(self._stages.load(model.weights), run.attack):
                    yield variant, 0, answers

    def _likelihoods(self, attack: LikelihoodAttack) -> LikelihoodExam:
        """Return the exam of an attack that reads likelihoods, prepared once for all models."""
        if self._scope.likelihoods is None:
            raise ConfigError("an attack that reads likelihoods compares with people of a run; choose another")
        if attack not in self._read:
            self._read[attack] = self._scope.likelihoods(self._stages.vlm, attack)
        return self._read[attack]

    def _asking(self, name: str, attack: QuestionAttack, variant: str, asking: Asking) -> Exam:
        """Return the exam of one way of asking, prepared once for all models."""
        if (name, variant) not in self._made:
            self._made[name, variant] = self._exams.ask(name, attack, variant, asking)
        return self._made[name, variant]

    def _ask(self, vlm: VLM, exam: Exam, model: Respondent, system: str = "") -> pd.DataFrame:
        together = " ".join(filter(None, [model.system, system]))
        answers = exam.examine(vlm, system=together or None, name=model.label)
        return exam.guarded(answers, model.guard) if model.guard else answers

    def _trainings(self, attack: TrainingAttack) -> dict[str, Lessons]:
        """Return the trainings for which there is text, if there are questions about what it leaves out."""
        scope, found = self._scope, dict[str, Lessons]()
        for name, lessons in attack.trainings.items():
            there = lessons == "text" and scope.has_text and self._stages.replayed is not None
            asks = any(scope.is_asked(lessons, item) for group in self._plain.prompt_groups for item in group.items)
            if asks and (there or any(map(training_text, scope.taught.get(lessons, ())))):
                found[name] = lessons
        return found

    def _trained(
        self, run: AttackRun, attack: TrainingAttack, lessons: Lessons, model: Respondent
    ) -> list[tuple[int, pd.DataFrame]]:
        """Train a model further, and return its answers after each budget."""
        scope, stages, found = self._scope, self._stages, list[tuple[int, pd.DataFrame]]()
        rate = attack.learning_rate or scope.learning_rate
        method = _Watched(learning_rate=rate, steps=attack.budgets[-1])
        exam = self._exams.plain(partial(scope.is_asked, lessons))
        stream = make_stream(
            stages.vlm, self._rows(lessons), ("retain",), scope.training, f"{scope.seed}-{run.name}-{lessons}"
        )
        steps = 0

        def ask(vlm: VLM) -> int:
            nonlocal steps
            steps += 1
            if steps in attack.budgets:
                found.append((steps, self._ask(vlm, exam, model)))
            return 1

        schedule = Schedule(learning_rate=rate, steps=attack.budgets[-1], warmup=0.0, decay=0.0)
        trainable = stages.loaded.start_training(model.weights)
        train(
            stages.vlm, method, iter(stream), schedule, trainable, name=f"relearn {lessons}", seed=scope.seed,
            stop=StopRule("", ask),
        )  # fmt: skip
        return found

    def _rows(self, lessons: Lessons) -> MakeRows:
        scope = self._scope
        if lessons == "text":
            draw = self._stages.draw_replay()
            return lambda rng: [(draw(rng),) for _ in range(TEXT_ROWS)]
        inputs: tuple[Input, ...] = INPUTS[scope.modality]
        people, training = scope.taught[lessons], scope.training
        return TrainingText(self._stages.vlm, people, inputs, training.turns, training.protocol).rows


def _takes_system(vlm: VLM, system: str) -> bool:
    """Return False for a chat template that drops or refuses a system prompt."""
    try:
        vlm.template(with_image=False, system=system)
    except ModelError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class _Watched(FineTuning):
    """Fine-tuning that is looked at after every step."""

    check_every: int = 1


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
    found = [Victim(DO_NOTHING, "", seed, DO_NOTHING, "teach target")]
    for number in range(1, num_oracles + 1):
        name = f"oracle_{number}" if number > 1 else "oracle"
        found.append(Victim(name, "", seed + number, name, f"teach {name}"))
    chosen = table.methods or [run.name for run in methods]
    for name in dict.fromkeys(run.name for run in methods if run.name in chosen and run.name != DO_NOTHING):
        firsts = {run.modality: run for run in reversed(methods) if run.name == name}
        own = {modality: run for modality, run in firsts.items() if modality in ("", *table.modality)} or firsts
        for run in reversed(own.values()):
            made_by = f"{run.work} {run.label}" if run.changes_weights else "teach target"
            found.append(
                Victim(run.name, run.modality, run.seed, run.label, made_by, None if run.changes_weights else run)
            )
    return found


def respondent_of(victim: Victim, weights: Weights, material: Material) -> Respondent:
    """Return what answers for a model under attack.

    Args:
        victim: the model.
        weights: what the task returned that made it.
        material: the data of methods that answer in place of the target.
    """
    if victim.run is None:
        return Respondent(victim.label, weights)
    method: Any = victim.run.method
    made_by = [victim.run.name, asdict(method), victim.modality, victim.seed, source_hash(type(method).__module__)]
    system = method.system_prompt(material.names) if isinstance(method, PromptMethod) else ""
    pairs = material.pairs(victim.modality, victim.seed) if isinstance(method, GuardMethod) else []
    guard = method.guard(pairs) if isinstance(method, GuardMethod) else None
    return Respondent(victim.label, weights, system or "", guard, made_by)
