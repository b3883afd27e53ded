"""The engine of attacks: asks models in other ways, changes or trains them further, and reads what is inside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from unsee.attacks import ATTACKS
from unsee.attacks.base import (
    Asking,
    Attack,
    DepthAttack,
    Lessons,
    LikelihoodAttack,
    QuestionAttack,
    StateAttack,
    TrainingAttack,
    WeightAttack,
)
from unsee.config.protocols import TrainingConfig
from unsee.config.recipe import GENERATED, AttackOptions, Modality, RunConfig, build_dataclass
from unsee.core.errors import ConfigError
from unsee.core.files import discard
from unsee.core.source import source_hash
from unsee.data.people.facts import halves_of
from unsee.data.people.questions import training_text
from unsee.data.people.strangers import invent_strangers
from unsee.data.schema import Benchmark, Input, Person
from unsee.exams.attacked import AttackedExams, takes_system
from unsee.exams.depth import DepthExam
from unsee.exams.likelihoods import LikelihoodExam
from unsee.exams.people import Exam
from unsee.exams.plan import Item
from unsee.exams.states import StatesExam
from unsee.methods.base import Guard
from unsee.models.vlm import VLM
from unsee.runs.keys import TRAINING, content_of
from unsee.runs.method_runs import INPUTS
from unsee.runs.stages import Stages
from unsee.runs.streams import make_stream
from unsee.runs.weights import Weights
from unsee.runtime.cache import key_of
from unsee.training.batches import MakeRows
from unsee.training.lessons import FineTuning
from unsee.training.lessons import Lessons as TrainingText
from unsee.training.train import Schedule, StopRule, train

Found = tuple[str, int, pd.DataFrame]
"""Variant, budget and answers."""
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
        target: the weights that read its states where an attack puts these into the target.
    """

    label: str
    weights: Weights
    system: str = ""
    guard: Guard | None = field(default=None, compare=False)
    made_by: object = None
    target: Weights | None = None


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
        self._deep: DepthExam | None = None

    def answers(self, run: AttackRun, model: Respondent) -> pd.DataFrame:
        """Return the answers of a model under an attack.

        Returns:
            The columns of an exam, and `attack`, `variant` and `budget`: the number of training steps, or 0. No rows if
            no question can be asked in this way, as about pictures where there are none.
        """
        modules = [
            type(run.attack).__module__, __name__, AttackedExams.__module__, LikelihoodExam.__module__,
            StatesExam.__module__, DepthExam.__module__, *TRAINING,
        ]  # fmt: skip
        settings: Any = run.attack
        scope, read_by = self._scope, model.target.key if model.target and isinstance(run.attack, DepthAttack) else ""
        key = key_of(
            "attack", model.weights.key, model.system, model.made_by, run.name, asdict(settings), self._plain.key,
            scope.seed, self._stages.trained_part(), scope.training.model_dump(), scope.learning_rate, read_by,
            [[lessons, *map(content_of, people)] for lessons, people in scope.taught.items()], self._stages.code,
            [source_hash(module) for module in modules],
        )  # fmt: skip
        path, log = self._stages.cache.path("answers", f"{key}.parquet"), self._stages.log
        with log.stage("attack", f"{model.label} {run.name}"), log.missing(path) as is_missing:
            if is_missing:
                with log.progress.task(run.name, self._num_parts(run.attack)) as advance:
                    parts = []
                    for name, attacked in self._parts(run, model):
                        parts.append(self._kept(path.with_suffix(f".{key_of(name)[:8]}.part"), attacked))
                        advance(1)
                whole = _together(parts)
                whole = whole.assign(attack=run.name) if len(whole) else whole
                self._stages.cache.keep(path, lambda file: whole.to_parquet(file, index=False))
                for part in path.parent.glob(f"{path.stem}.*.part"):
                    discard(part)
            else:
                log.say_cached()
            return pd.read_parquet(path)

    def _kept(self, path: Path, attacked: Callable[[], list[Found]]) -> pd.DataFrame:
        """Return the answers of one part of an attack; those that a killed process kept are not asked for again."""
        if not self._stages.cache.holds(path):
            part = _together([answers.assign(variant=variant, budget=steps) for variant, steps, answers in attacked()])
            self._stages.cache.keep(path, lambda file: part.to_parquet(file, index=False))
        return pd.read_parquet(path)

    def _num_parts(self, attack: Attack) -> int:
        match attack:
            case QuestionAttack():
                return len(attack.askings)
            case WeightAttack():
                return len(attack.variants)
            case TrainingAttack():
                return len(self._trainings(attack))
            case _:
                return 1

    def _parts(self, run: AttackRun, model: Respondent) -> Iterator[tuple[str, Callable[[], list[Found]]]]:
        """Yield the parts of an attack by name, each with what asks it; a killed attack goes on after the last one."""
        match run.attack:
            case QuestionAttack():
                for variant, asking in run.attack.askings.items():
                    if asking.system and not takes_system(self._stages.vlm, asking.system):
                        self._stages.log.log("attack left out", variant=variant, reason="no system prompt")
                        continue
                    yield variant, partial(self._asked, run, run.attack, variant, asking, model)
            case WeightAttack() if self._stages.config.quantization == "none":  # weights of 4 bits are packed
                for variant in run.attack.variants:
                    yield variant, partial(self._changed, run.attack, variant, model)
            case TrainingAttack():
                for variant, lessons in self._trainings(run.attack).items():
                    yield variant, partial(self._trained, run, run.attack, variant, lessons, model)
            case LikelihoodAttack():
                yield "", partial(self._scored, run.attack, model)
            case StateAttack():
                yield "", partial(self._read_inside, run.attack, model)
            case DepthAttack():
                yield "", partial(self._patched, model)

    def _asked(
        self, run: AttackRun, attack: QuestionAttack, variant: str, asking: Asking, model: Respondent
    ) -> list[Found]:
        """Ask in one way."""
        exam = self._asking(run.name, attack, variant, asking)
        return [(variant, 0, self._ask(self._stages.load(model.weights), exam, model, asking.system))]

    def _changed(self, attack: WeightAttack, variant: str, model: Respondent) -> list[Found]:
        """Ask a model whose weights were changed in one way."""
        with self._stages.loaded.spoiled(model.weights) as vlm:
            for name in vlm.lora_modules("decoder+projector"):
                weight: Any = vlm.model.get_submodule(name).weight
                weight.data = attack.change(variant, weight.data)
            return [(variant, 0, self._ask(vlm, self._plain, model))]

    def _scored(self, attack: LikelihoodAttack, model: Respondent) -> list[Found]:
        """Read likelihoods."""
        exam = self._likelihoods(attack)
        return [("", 0, exam.examine(self._stages.load(model.weights), name=model.label))]

    def _read_inside(self, attack: StateAttack, model: Respondent) -> list[Found]:
        """Read hidden states."""
        self._inside = self._inside or StatesExam(self._stages.vlm, self._scope.exam, self._scope.seed)
        found = self._inside.examine(self._stages.load(model.weights), attack)
        return [(variant, 0, answers) for variant, answers in found]

    def _patched(self, model: Respondent) -> list[Found]:
        """Put hidden states into the target."""
        if model.target is None:
            raise ConfigError("an attack that puts states into the target is for models of a run; choose another")
        self._deep = self._deep or DepthExam(self._stages.vlm, self._scope.exam)
        states = self._deep.states(self._stages.load(model.weights))
        return [("", 0, self._deep.patched(self._stages.load(model.target), states))]

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
        self, run: AttackRun, attack: TrainingAttack, variant: str, lessons: Lessons, model: Respondent
    ) -> list[Found]:
        """Train a model further, and ask it after each budget."""
        scope, stages, found = self._scope, self._stages, list[Found]()
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
                found.append((variant, steps, self._ask(vlm, exam, model)))
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


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several tables; those without rows have no columns either."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


@dataclass(frozen=True, kw_only=True)
class _Watched(FineTuning):
    """Fine-tuning that is looked at after every step."""

    check_every: int = 1
