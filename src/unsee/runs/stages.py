"""The expensive stages of a run, each kept under a key made of everything that goes into it.

The same target, oracle, unlearned weights or answers are never computed twice, whichever run asks; a killed stage goes
on from its checkpoint.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from safetensors.torch import save_file
from torch import nn

from unsee.runtime.cache import cache_folder, key_of, write_whole
from unsee.runs.weight_change import Change, by_adapter, by_edit, by_weights, change_of
from unsee.config.recipe import Modality, ModelConfig, TeachConfig, UnlearnConfig
from unsee.runtime.cost import Cost, measured
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Input, Person
from unsee.edits.edit import Edit, Editor
from unsee.edits.pair_rows import answered
from unsee.core.errors import ConfigError
from unsee.forward.vision_cache import cached_vision
from unsee.core.journal import Journal
from unsee.methods.base import EditMethod, Loss, LossMethod, Order, StepBatch, Side, Work
from unsee.models.vlm import VLM
from unsee.nano.corpus import REPLAYED, Corpus, has_corpus
from unsee.runtime.distributed import state
from unsee.core.progress import Progress
from unsee.config.protocols import TrainingConfig
from unsee.core.record import Onlooker, Record
from unsee.training.batches import Course, MakeTrees, Stream
from unsee.training.lessons import FineTuning, Lessons
from unsee.training.train import Objective, Reference, Scorer, train

log = logging.getLogger(__name__)

ANSWER_TOKENS = 48  # of the model's own answers to the benign questions of pairs
INPUTS: dict[str, tuple[Input, ...]] = {"image": ("image",), "text": ("text",), "both": ("image", "text")}


def start_record(folder: Path, config: str) -> Record:
    """The run's folder, new or resumed; the main process alone writes to it.

    Args:
        folder: where it is.
        config: the resolved config as TOML.

    Raises:
        RecordError: as `Record.create`.
    """
    with state().main_process_first():
        return Record.create(folder, config) if state().is_main_process else Onlooker(folder)


@dataclass(frozen=True)
class Weights:
    """A trained model: the files to load in order onto the base model, and the key of how it was made.

    Attributes:
        key: of everything that went into it.
        files: in order.
        edit: the file of an edit that is applied to them.
    """

    key: str
    files: tuple[Path, ...] = ()
    edit: Path | None = None


class Examination(Protocol):
    """What a model can sit: everything it is asked, as rows of an answers table."""

    def sit(
        self,
        vlm: VLM,
        *,
        system: str | None = None,
        name: str = "model",
        progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> pd.DataFrame:
        """The answers of a model; those in the journal are taken from there, the others noted in it."""
        ...


class Stages:
    """Teaching, unlearning and examining with one model in memory.

    Args:
        vlm: the base model.
        model: what of it is trained.
        record: the run's folder, for its log.
        progress: where long work is shown.
    """

    def __init__(self, vlm: VLM, model: ModelConfig, record: Record, progress: Progress) -> None:
        self.config = model
        self.vlm = vlm
        self.base = Weights(self.vlm.fingerprint()[:20])
        self._record = record
        self._progress = progress
        self._cache = cache_folder()
        self._ready: Weights | None = None
        self._editor: Editor | None = None
        self._corpus: Corpus | None = None

    def teach(self, name: str, people: Sequence[Person], config: TeachConfig, seed: int) -> Weights:
        """The base model fine-tuned on the training text of `people`, mixed with replay."""
        settings = [self._trained_part(), config.model_dump(exclude={"oracle_seeds"}), seed]
        key = key_of("teach", self.base.key, settings, [_content(p) for p in people])

        def course() -> Course:
            lessons = Lessons(self.vlm, people, INPUTS[config.modality], config.turns, config.protocol)
            stream = self._stream(self._with_replay(lessons.trees, config.replay), config, key)
            return Course({"retain": stream}, config.learning_rate, config.steps, config.epochs, config.protocol)

        return self._trained(name, key, self.base, FineTuning(), course, seed)

    def unlearn(
        self,
        name: str,
        target: Weights,
        method: LossMethod,
        modality: Modality,
        forget: Sequence[Person],
        retain: Sequence[Person],
        config: UnlearnConfig,
        seed: int,
        oracle: Weights | None = None,
    ) -> Weights:
        """The target after a method; it unlearns from questions of `modality` and may look at all retain questions.

        Raises:
            ConfigError: the method compares with an oracle and there is none.
        """
        wants_oracle = getattr(method, "reference", "target") == "oracle"
        reference = oracle if wants_oracle else None
        if wants_oracle and oracle is None:
            raise ConfigError(f"method.{name}.reference: there is no oracle here; choose 'target'")
        options = asdict(method)  # type: ignore[call-overload]
        settings = [type(method).__name__, options, modality, self._trained_part(), config.model_dump(), seed]
        key = key_of(
            "unlearn", target.key, settings, reference and reference.key, [_content(p) for p in (*forget, *retain)]
        )  # fmt: skip

        def course() -> Course:
            sources: dict[Side, tuple[Sequence[Person], Modality]] = {
                "forget": (forget, modality),
                "retain": (retain, config.retain_modality),
            }
            streams: dict[Side, Stream] = {}
            for side in method.sides:
                people, shown = sources[side]
                lessons = Lessons(self.vlm, people, INPUTS[shown], config.turns, config.protocol)
                streams[side] = self._stream(lessons.trees, config, f"{key}-{side}")
            order: Order = getattr(method, "schedule", "joint")
            return Course(streams, method.learning_rate, method.steps, method.epochs, config.protocol, order)

        return self._trained(name, key, target, method, course, seed, reference)

    def edit(self, name: str, target: Weights, method: EditMethod, pairs: Sequence[PrivacyPair], seed: int) -> Weights:
        """The target with an edit in it; a benign question without a known answer gets the target's own."""
        settings = [type(method).__name__, asdict(method), seed]  # type: ignore[call-overload]
        key = key_of("edit", target.key, settings, [_content_of_pair(pair) for pair in pairs])
        path = self._cache / "edits" / f"{key}.safetensors"
        if not self._cached(name, path):
            vlm = self.load(target)
            vlm.merge_lora()
            work = Work(seed=seed, progress=self._progress, cache=self._cache / "moments")
            with measured(vlm.device) as cost, cached_vision(vlm):
                edit = method.edit(vlm, answered(vlm, pairs, max_new_tokens=ANSWER_TOKENS), work)
            self._forget_merged()
            self._finish("edited", name, path, edit.save, cost)
        for gate, share in Edit.load(path).open_shares().items():
            self._record.log("gate", model=name, gate=gate, open_share=share)
        return Weights(key, target.files, path)

    def examine(
        self, name: str, weights: Weights | None, exam: Examination, exam_key: str, system: str | None = None
    ) -> pd.DataFrame:
        """What a model answers; `None` stands for the base architecture with random weights."""
        key = key_of("answers", weights.key if weights else [self.base.key, "random"], exam_key, system)
        path = self._cache / "answers" / f"{key}.parquet"
        if not path.is_file():
            vlm = self.vlm.untrained() if weights is None else self.load(weights)
            own = path.with_suffix(f".{state().process_index}.journal")  # each process notes its own answers
            earlier = sorted(path.parent.glob(f"{key}.*.journal"))
            journal = Journal(own, earlier)
            state().wait_for_everyone()  # all have read what there was before one of them adds to it
            started = time.monotonic()
            with cached_vision(vlm) if weights else nullcontext():  # random weights are used once
                answers = exam.sit(vlm, system=system, name=name, progress=self._progress, journal=journal)
            self._record.log("evaluated", model=name, seconds=round(time.monotonic() - started, 2))
            write_whole(path, lambda part: answers.to_parquet(part, index=False))
            for noted in (own, *earlier):
                noted.unlink(missing_ok=True)
        return pd.read_parquet(path)

    def change(self, start: Weights, weights: Weights) -> Change:
        """How far a method moved the model from where it started."""
        path = self._cache / "changes" / f"{key_of(start.key, weights.key)}.json"
        if not path.is_file():
            vlm = self.load(start)
            if weights.edit:
                moved = by_edit(weights.edit)
            elif self.config.trainable == "lora":
                moved = by_adapter(weights.files[-1], self.config.lora_alpha / self.config.lora_rank)
            else:
                moved = by_weights(vlm, weights.files[-1])
            found = asdict(change_of(vlm, moved))
            write_whole(path, lambda part: part.write_text(json.dumps(found)))
        return Change(**json.loads(path.read_text()))

    def cost(self, weights: Weights) -> Cost | None:
        """What making them took when they were made, if it was noted."""
        took = (weights.edit or weights.files[-1]).with_suffix(".json")
        return Cost(**json.loads(took.read_text())) if took.is_file() else None

    def load(self, weights: Weights) -> VLM:
        """The one model in memory, with these weights in it."""
        if self._ready != weights:
            if self._editor:
                self._editor.revert()
                self._editor = None
                self._forget_merged()
            if self._ready is None or self._ready.files != weights.files:
                self._prepare(weights)
            if weights.edit:
                self.vlm.merge_lora()
                self._editor = Editor(self.vlm)
                self._editor.apply(Edit.load(weights.edit))
            self._ready = weights
        return self.vlm

    def _forget_merged(self) -> None:
        """An adapter that was merged for an edit is loaded anew when it is wanted again."""
        if self.config.trainable == "lora":
            self._ready = None

    def _prepare(self, weights: Weights) -> None:
        """Base weights, then each file: of full fine-tuning the last holds everything, of LoRA each is one adapter."""
        if self.config.trainable == "lora" or not weights.files or self.vlm.divided:
            self.vlm.reload()
        if self.config.trainable == "full" and weights.files:
            self.vlm.train_language()
            self.vlm.load_trained(weights.files[-1])
        for path in weights.files if self.config.trainable == "lora" else ():
            self._add_lora()
            self.vlm.load_trained(path)

    def _trained(
        self,
        name: str,
        key: str,
        start: Weights,
        objective: Objective,
        make_course: Callable[[], Course],
        seed: int,
        compared: Weights | None = None,
    ) -> Weights:
        path = self._cache / "weights" / f"{key}.safetensors"
        result = Weights(key, (*start.files, path))
        if self._cached(name, path):
            return result
        course = make_course()
        schedule, steps = course.schedule, course.pairs
        reference = None
        if compared:
            reference, steps = self._reference(compared, objective, steps, schedule.steps)
        vlm = self.load(start)
        trainable = self._add_lora() if self.config.trainable == "lora" else vlm.train_language()
        self._ready = None
        count = sum(parameter.numel() for parameter in trainable)
        self._record.log("training", model=name, trainable_parameters=count, learning_rate=schedule.learning_rate)
        log.info("training model=%s trainable_parameters=%d", name, count)

        def report(step: int, loss: Loss, rate: float) -> None:
            self._record.log("step", model=name, step=step, learning_rate=rate, **loss.parts)

        checkpoint = path.with_name(f"{key}.checkpoint.safetensors")
        with measured(vlm.device) as cost:
            train(
                vlm, objective, steps, schedule, trainable, reference=reference,
                name=name, seed=seed, checkpoint=checkpoint, progress=self._progress, on_step=report,
            )  # fmt: skip
        tensors = vlm.trained()
        self._finish("trained", name, path, lambda part: save_file(tensors, part), cost)
        checkpoint.unlink(missing_ok=True)
        self._ready = None if vlm.divided else result
        return result

    def _cached(self, name: str, path: Path) -> bool:
        """Whether weights are there already; then the log says what they took when they were made."""
        if not path.is_file():
            return False
        took = path.with_suffix(".json")
        self._record.log("cached", model=name, **(json.loads(took.read_text()) if took.is_file() else {}))
        return True

    def _finish(self, event: str, name: str, path: Path, write: Callable[[Path], object], cost: Cost) -> None:
        """Keep weights, and what they took."""
        self._record.log(event, model=name, **asdict(cost))
        write_whole(path.with_suffix(".json"), lambda part: part.write_text(json.dumps(asdict(cost))))
        write_whole(path, write)

    def _reference(
        self, weights: Weights, objective: Objective, pairs: Iterator[StepBatch], count: int
    ) -> tuple[Reference, Iterator[StepBatch]]:
        """What another model says of all steps, computed before the one that is trained takes its place."""
        vlm = self.load(weights)
        reference = Reference(vlm, Scorer(vlm), other=True)
        moved = (pair.to(vlm.device) for pair in itertools.islice(pairs, count))
        return reference, reference.announced(moved, objective.reference_sides)

    def _stream(self, make_trees: MakeTrees, config: TrainingConfig, seed: str) -> Stream:
        return Stream(
            make_trees=make_trees,
            vlm=self.vlm,
            seed=seed,
            batch_tokens=config.batch_tokens,
            batch_examples=config.batch_examples,
            labels=config.labels,
        )

    def _add_lora(self) -> list[nn.Parameter]:
        model = self.config
        return self.vlm.add_lora(model.lora_rank, model.lora_alpha, model.lora_targets, dropout=model.lora_dropout)

    def _trained_part(self) -> dict[str, object]:
        return self.config.model_dump(exclude={"id", "processor", "gradient_checkpointing"})

    def _with_replay(self, lessons: MakeTrees, share: float) -> MakeTrees:
        """Lessons of which a share of the tokens is drawn from what the base model already knew."""
        if not share:
            return lessons
        corpus = self._corpus = self._corpus or Corpus(self.vlm, photos=2, num_strangers=120, shares=REPLAYED)

        def mixed(rng: Any) -> list[Any]:
            trees = lessons(rng)
            wanted = sum(tree.num_tokens for tree in trees) * share / (1 - share)
            while wanted > 0:
                trees.append(corpus.tree(rng))
                wanted -= trees[-1].num_tokens
            return trees

        return mixed


def check_replay(vlm: VLM, config: TeachConfig) -> None:
    """Refuse replay for a model whose training data are not at hand.

    Raises:
        ConfigError: replay is asked for.
    """
    if config.replay and not has_corpus(vlm):
        raise ConfigError(
            f"teach.replay: {config.replay} asked for, but nothing is known of what model {vlm.id} was trained on; "
            "set it to 0"
        )


def _content(person: Person) -> str:
    """Everything of a person that training sees."""
    return key_of([hashlib.sha256(image).hexdigest() for image in person.images], [asdict(q) for q in person.questions])


def _content_of_pair(pair: PrivacyPair) -> dict[str, object]:
    """Everything of a pair that an edit sees."""
    return vars(pair) | {"image": None if pair.image is None else hashlib.sha256(pair.image).hexdigest()}
