"""The expensive stages of a run, each cached under a key of everything that goes into it, source code included.

The same target, oracle, unlearned weights or answers are never computed twice, whichever run asks. A stage that was
killed resumes from its checkpoint. The terminal names each stage that comes from the cache.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn

from unsee.config.recipe import ModelConfig, TeachConfig
from unsee.core.errors import ConfigError, DataError
from unsee.core.files import discard
from unsee.core.journal import Journal
from unsee.core.progress import Progress
from unsee.core.record import Record
from unsee.core.source import source_hash
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Input, Person
from unsee.edits.edit import Edit
from unsee.edits.pair_rows import ANSWER_TOKENS, answered
from unsee.edits.partial_forward import decoder_layers
from unsee.exams.base import Examination
from unsee.forward.generate import all_replies
from unsee.forward.trees import Tree
from unsee.forward.vision_cache import cached_vision
from unsee.methods.base import (
    ArithmeticMethod,
    EditMethod,
    GradientMethod,
    LossMethod,
    StatisticsMethod,
    Training,
    Work,
    edit_of,
)
from unsee.models.vlm import VLM
from unsee.runs.keys import TRAINING, code_of, content_of, content_of_pair
from unsee.runs.method_runs import INPUTS, Material, MethodRun
from unsee.runs.stage_log import StageLog
from unsee.runs.streams import (
    DrawTree,
    Write,
    batches_of,
    fisher_questions,
    make_stream,
    side_streams,
    ways_of_asking,
    with_replay,
)
from unsee.runs.trainings import Job, train_model
from unsee.runs.weight_change import WeightChange, by_adapter, by_edit, by_weights, change_of
from unsee.runs.weights import LoadedModel, Weights
from unsee.runtime.cache import Cache, key_of
from unsee.runtime.cost import Cost, measured
from unsee.runtime.distributed import state
from unsee.training.batches import MakeRows, Plan
from unsee.training.lessons import FineTuning, Lessons

log = logging.getLogger(__name__)


class Stages:
    """Teaching, unlearning and examining with one model in memory.

    Args:
        vlm: the base model.
        model: its settings, which say which part is trained.
        record: the run's folder, for its log.
        progress: where long work is shown.
        replay: returns a function that draws trees of text that the base model knows.
        cache: the cache of the run; by default a new one.

    Raises:
        ConfigError: adapters are wanted in layers that the model does not have.

    Attributes:
        loaded: the model in memory.
        cache: the cache of the run.
        code: what every key holds about code and threads.
        replayed: returns a function that draws trees of text that the base model knows; None without one.
        exports: write models into the run's folder; they are in the cache in any case.
    """

    def __init__(
        self,
        vlm: VLM,
        model: ModelConfig,
        record: Record,
        progress: Progress,
        replay: Callable[[VLM, Write], DrawTree] | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.vlm = vlm
        self.config = model
        if model.trainable == "lora":
            vlm.lora_modules(model.lora_targets, model.lora_layers)  # refuses layers that do not exist
        self.base = Weights(vlm.fingerprint()[:20], vlm.fingerprint()[:20])
        self.loaded = LoadedModel(vlm, model)
        self.code = [source_hash(type(vlm.family).__module__)]
        if vlm.device.type == "cpu":
            self.code.append(f"{torch.get_num_threads()} threads")
        self.replayed = replay
        self._replay: DrawTree | None = None
        self.cache = cache or Cache(record.folder)
        self.exports = True
        self.log = StageLog(record, progress, self.cache)

    def teach(self, name: str, people: Sequence[Person], config: TeachConfig, seed: int) -> Weights:
        """Fine-tune the base model on the training text of `people`, mixed with replay."""
        settings = [self.trained_part(), config.model_dump(exclude=set(config.undrawn)), seed]
        draws = key_of("teach", self.base.draws, settings, [content_of(p) for p in people])
        modules = (*TRAINING, self.replayed.__module__) if self.replayed and config.replay else TRAINING
        key = key_of(
            draws, config.adamw, config.variants, self.base.key, self.code, [source_hash(module) for module in modules]
        )
        method = FineTuning(learning_rate=config.learning_rate, steps=config.steps, epochs=config.epochs)

        def plan() -> Plan:
            lessons = Lessons(
                self.vlm, people, INPUTS[config.modality], config.turns, config.protocol, variants=config.variants
            )
            stream = make_stream(self.vlm, self._mixed(lessons.rows, config.replay), ("retain",), config, draws)
            return Plan([stream], method, config.protocol, config.adamw)

        with self.log.stage("teach", name):
            return train_model(self.loaded, self.log, Job(name, Weights(key, draws), self.base, method, plan, seed))

    def apply(self, run: MethodRun, target: Weights, material: Material) -> Weights:
        """Apply a method that changes weights to the target."""
        with self.log.stage(run.work, run.label):
            match run.method:
                case LossMethod():
                    return self.unlearn(run, run.method, target, material)
                case EditMethod():
                    return self.edit(run, run.method, target, material.pairs(run.modality, run.seed))
                case StatisticsMethod():
                    return self.measure(run, run.method, target, material)
                case _:
                    raise ConfigError(f"method.{run.name}: changes no weights")

    def unlearn(self, run: MethodRun, method: LossMethod, target: Weights, material: Material) -> Weights:
        """Train the target with a loss method.

        Raises:
            ConfigError: the method needs an oracle as its reference, and there is none.
        """
        reference = material.oracle if method.reference == "oracle" else None
        if method.reference == "oracle" and reference is None:
            raise ConfigError(f"method.{run.name}.reference: there is no oracle here; choose 'target'")
        modality, config = run.modality or material.modality, material.unlearn
        options = {name: value for name, value in asdict(method).items() if name not in method.undrawn}
        settings = [
            type(method).__name__, options, modality, self.trained_part(),
            config.model_dump(exclude=set(config.undrawn)), run.seed,
        ]  # fmt: skip
        strangers = (*material.stand_ins.values(), *(material.strangers if method.others == "strangers" else ()))
        content = [content_of(person) for person in (*material.forget, *material.retain, *strangers)]
        draws = key_of("unlearn", target.draws, settings, reference and reference.draws, content)
        stop = material.stop if method.check_every else None
        modules = [source_hash(module) for module in TRAINING]
        key = key_of(
            draws, config.adamw, config.variants, asdict(method), target.key, reference and reference.key, self.code,
            modules, code_of(run.method), *([stop.key] if stop else []),
        )  # fmt: skip

        def train(training: Training, inputs: Sequence[Input], name: str = "") -> Weights:
            own = Weights(key_of(key, name), key_of(draws, name)) if name else Weights(key, draws)

            def plan() -> Plan:
                streams = side_streams(
                    self.vlm, training.sides, material, inputs, own.draws,
                    retain_inputs=training.inputs or None, whole_sides=method.whole_sides, others=method.others,
                )  # fmt: skip
                return Plan(streams, method, config.protocol, config.adamw)

            label = f"{run.label}-{name}" if name else run.label
            fisher = fisher_questions(self.vlm, method, material, draws) if isinstance(method, GradientMethod) else {}
            return train_model(
                self.loaded, self.log, Job(label, own, target, method, plan, run.seed, reference, fisher, stop)
            )

        if not isinstance(method, ArithmeticMethod):
            return train(Training(method.sides), INPUTS[modality])
        trained = {}
        for name, training in method.trainings.items():
            if inputs := [kind for kind in INPUTS[modality] if kind in (training.inputs or INPUTS[modality])]:
                trained[name] = train(training, inputs, name)
        return self._computed(run, method, target, Weights(key, draws), trained, material)

    def edit(self, run: MethodRun, method: EditMethod, target: Weights, pairs: Sequence[PrivacyPair]) -> Weights:
        """Edit the target; benign questions without a known answer get the target's own answer."""

        def compute(vlm: VLM, work: Work) -> Edit:
            return method.edit(vlm, answered(vlm, pairs, max_new_tokens=ANSWER_TOKENS), work)

        settings = [type(method).__name__, asdict(method), run.seed]
        draws = key_of("edit", target.draws, settings, [content_of_pair(pair) for pair in pairs])
        return self._edited(run, target, draws, compute)

    def measure(self, run: MethodRun, method: StatisticsMethod, target: Weights, material: Material) -> Weights:
        """Edit the target from statistics on forget and retain questions, without training.

        Raises:
            DataError: the method compares ways of asking, and a side has no questions that are asked in one of them.
        """
        kinds = ways_of_asking(material)
        for side, kind in itertools.product(method.sides, method.inputs):
            if kind not in kinds[side]:
                how = "with the image" if kind == "image" else "as text alone"
                raise DataError(
                    f"method.{run.name}: needs questions of the {side} side that are asked {how}; there are none"
                )

        def compute(vlm: VLM, work: Work) -> Edit:
            return edit_of(method, vlm, method.compute(vlm, batches_of(self.vlm, material, draws), work), work.seed)

        step = material.unlearn.model_dump(exclude=set(material.unlearn.undrawn))
        settings = [type(method).__name__, asdict(method), step, run.seed]
        content = [content_of(person) for person in (*material.forget, *material.retain)]
        draws = key_of("measure", target.draws, settings, content)
        return self._edited(run, target, draws, compute)

    def examine(self, name: str, weights: Weights | None, exam: Examination, system: str | None = None) -> pd.DataFrame:
        """Return a model's answers to an exam; `None` means the base architecture with random weights."""
        key = key_of("answers", weights.key if weights else [self.base.key, "random"], exam.key, system, self.code)
        path = self.cache.path("answers", f"{key}.parquet")
        with self.log.stage("evaluate", name), self.log.missing(path) as is_missing:
            earlier = sorted(path.parent.glob(f"{path.stem}.*.journal"))
            if is_missing:
                self._examine(name, weights, exam, system, path, earlier)
            else:
                self.log.say_cached()
                self.log.log("cached answers", model=name)
            for journal in earlier:  # a kill can leave them
                discard(journal)
            return pd.read_parquet(path)

    def _examine(
        self,
        name: str,
        weights: Weights | None,
        exam: Examination,
        system: str | None,
        path: Path,
        earlier: Sequence[Path],
    ) -> None:
        vlm = self.vlm.untrained() if weights is None else self.load(weights)
        own = path.with_suffix(f".{state().process_index}.journal")  # each process writes its own answers
        journal = Journal(own, earlier)
        state().wait_for_everyone()  # no process writes before all have read the journals
        started = time.monotonic()
        with cached_vision(vlm, self.cache) if weights else nullcontext():  # random weights are used once
            answers = exam.examine(vlm, system=system, name=name, progress=self.log.progress, journal=journal)
        self.log.log("evaluated", model=name, seconds=round(time.monotonic() - started, 2))
        self.cache.keep(path, lambda part: answers.to_parquet(part, index=False))
        discard(own)

    def change(self, start: Weights, weights: Weights) -> WeightChange:
        """Return the size of the difference between two models."""
        path = self.cache.path("changes", f"{key_of(start.key, weights.key)}.json")
        with self.log.missing(path) as is_missing:
            if is_missing:
                vlm = self.load(start)
                moved = by_edit(weights.edit) if weights.edit else self._moved(vlm, weights)
                change = asdict(change_of(vlm, (delta for _, delta in moved)))
                self.cache.keep(path, lambda part: part.write_text(json.dumps(change)))
        return WeightChange(**json.loads(path.read_text()))

    def steps(self, weights: Weights) -> tuple[int, int]:
        """Return the number of training steps taken for these weights, and the largest number; 0 if computed."""
        if weights.edit or not weights.files:
            return 0, 0
        with safe_open(weights.files[-1], "pt") as saved:
            found = saved.metadata()
        return int(found["steps"]), int(found["of"])

    def cost(self, weights: Weights) -> Cost | None:
        """Return time and memory of the stage that made the weights; None for the base model."""
        made = weights.edit or (weights.files[-1] if weights.files else None)
        return Cost(**json.loads(made.with_suffix(".json").read_text())) if made else None

    def load(self, weights: Weights) -> VLM:
        """Load weights into the one model in memory, and return it."""
        return self.loaded.load(weights)

    def release(self) -> None:
        """Free the memory of the model, which workers load themselves; nothing can be computed here any more."""
        nn.Module.to(self.vlm.model, "meta")

    def export(self, name: str, weights: Weights, base: str = "") -> None:
        """Write a model into the run's folder: the edit, the LoRA adapter, or a whole model in the hub's format.

        Args:
            name: the model's folder in the run's folder.
            weights: the model.
            base: the folder in the run's folder of the model that an adapter belongs to; "" for the base model.
        """
        if name in self.log.record or not self.exports:
            return
        if weights.edit:
            save = partial(_save_edit, Edit.load(weights.edit))
        else:
            save = partial(self.load(weights).save, base=os.path.relpath(base, name) if base else "")
        with self.log.record.replacing(name) as folder:
            save(folder)

    def _edited(self, run: MethodRun, target: Weights, draws: str, compute: Callable[[VLM, Work], Edit]) -> Weights:
        key = key_of(draws, target.key, self.code, code_of(run.method))
        path = self.cache.path("edits", f"{key}.safetensors")
        with self.log.weights_missing(run.label, path) as are_missing:
            if are_missing:
                with self.loaded.merged(target) as vlm:
                    work = Work(seed=run.seed, progress=self.log.progress, cache=self.cache)
                    with measured(vlm.device, decoder_layers(vlm)) as cost, cached_vision(vlm, self.cache):
                        edit = compute(vlm, work)
                self.log.keep_weights("edited", run.label, path, edit.save, cost)
        for gate, share in Edit.load(path).open_shares().items():
            self.log.log("gate", model=run.label, gate=gate, open_share=share)
        return Weights(key, draws, target.files, path)

    def _computed(
        self,
        run: MethodRun,
        method: ArithmeticMethod,
        target: Weights,
        made: Weights,
        trained: Mapping[str, Weights],
        material: Material,
    ) -> Weights:
        """Return the target with the edit that a method computes from the weight changes of its trainings."""
        path = self.cache.path("edits", f"{made.key}.safetensors")
        with self.log.weights_missing(run.label, path) as are_missing:
            if are_missing:
                with self.loaded.merged(target) as vlm, measured(vlm.device, decoder_layers(vlm)) as cost:
                    changes = {name: dict(self._moved(vlm, weights)) for name, weights in trained.items()}
                    deltas = method.after_training(changes, vlm, batches_of(vlm, material, made.draws))
                    edit = edit_of(method, vlm, deltas, run.seed)
                whole = sum((self.log.cost_of(weights.files[-1]) for weights in trained.values()), cost)
                self.log.keep_weights("edited", run.label, path, edit.save, whole)
        return Weights(key_of(made.key, "computed"), made.draws, target.files, path)

    def _moved(self, vlm: VLM, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        """Yield the difference between trained weights and the model before training, by name."""
        if self.config.trainable == "lora":
            return by_adapter(weights.files[-1], self.config.lora_alpha / self.config.lora_rank)
        return by_weights(vlm, weights.files[-1])

    def draw_replay(self) -> DrawTree:
        """Return a function that draws trees of text that the base model knows.

        Raises:
            ConfigError: there is none here.
        """
        if self.replayed is None:
            raise ConfigError(f"model {self.vlm.id}: nothing is replayed here")
        self._replay = self._replay or self.replayed(self.vlm, self._written)
        return self._replay

    def _written(self, trees: Sequence[Tree], max_new_tokens: int, decided: str) -> list[list[list[int]]]:
        """Return what the base model writes for the prompts of each tree, from the cache if it holds that."""
        path = self.cache.path("written", f"{key_of(self.base.key, self.code, max_new_tokens, decided)}.json")
        with self.log.missing(path) as are_missing:
            if are_missing:
                base = self.load(self.base)
                written = [reply.written for reply in all_replies(base, trees, max_new_tokens=max_new_tokens)]
                self.cache.keep(path, lambda part: part.write_text(json.dumps(written)))
        found: list[list[list[int]]] = json.loads(path.read_text())
        return found

    def _mixed(self, make_rows: MakeRows, share: float) -> MakeRows:
        """Return the training rows, mixed with replay if the recipe wants it."""
        if not share or self.replayed is None:
            return make_rows
        return with_replay(make_rows, self.draw_replay(), share)

    def trained_part(self) -> dict[str, object]:
        """Return the settings of the model that decide what training does."""
        undecided = {"id", "processor", "gradient_checkpointing"}
        if self.config.lora_layers == ModelConfig().lora_layers:  # a key that came later must not move what is drawn
            undecided.add("lora_layers")
        return self.config.model_dump(exclude=undecided)


def _save_edit(edit: Edit, folder: Path) -> None:
    edit.save(folder / "edit.safetensors")
