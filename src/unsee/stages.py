"""The expensive stages of a run, each kept under a key made of everything that goes into it.

The same target, oracle, unlearned weights or answers are never computed twice, whichever run asks; a killed stage goes
on from its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unsee.config import Modality, ModelConfig, TeachConfig, UnlearnConfig
from unsee.data.schema import Input, Person
from unsee.errors import ConfigError
from unsee.evaluate import Exam
from unsee.methods.base import Loss, LossMethod, Pair, Side
from unsee.models.vlm import VLM
from unsee.nano.corpus import Corpus, has_corpus
from unsee.progress import Progress
from unsee.record import Record
from unsee.teach import FineTuning, Lessons
from unsee.train import MakeTrees, Objective, Schedule, batches, train

log = logging.getLogger(__name__)

VERSION = 1  # raise it when the same inputs give other weights or answers
INPUTS: dict[str, tuple[Input, ...]] = {"image": ("image",), "text": ("text",), "both": ("image", "text")}


def cache_folder() -> Path:
    """Where stages are kept: `$UNSEE_CACHE`, or `unsee` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNSEE_CACHE") or Path(base) / "unsee")


def key_of(*parts: object) -> str:
    """A short name for everything in `parts`."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Weights:
    """A trained model: the files to load in order onto the base model, and the key of how it was made."""

    key: str
    files: tuple[Path, ...] = ()


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
        self._corpus: Corpus | None = None

    def teach(self, name: str, people: Sequence[Person], config: TeachConfig, seed: int) -> Weights:
        """The base model fine-tuned on the training text of `people`, mixed with replay."""
        settings = [self._trained_part(), config.model_dump(exclude={"oracle_seeds"}), seed]
        key = key_of("teach", self.base.key, settings, [_content(p) for p in people])

        def pairs() -> Iterator[Pair]:
            lessons = Lessons(self.vlm, people, INPUTS["both"], config.turns)
            make_trees = self._with_replay(lessons.trees, config.replay)
            for batch in batches(make_trees, config.batch_tokens, key, self.vlm):
                yield Pair({"retain": batch})

        schedule = Schedule(learning_rate=config.learning_rate, steps=config.steps)
        return self._trained(name, key, self.base, FineTuning(), pairs, schedule, seed)

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
    ) -> Weights:
        """The target after a method; it unlearns from questions of `modality` and may look at all retain questions."""
        options = [type(method).__name__, asdict(method), modality, self._trained_part(), config.model_dump(), seed]  # type: ignore[call-overload]
        key = key_of("unlearn", target.key, options, [_content(p) for p in (*forget, *retain)])

        def pairs() -> Iterator[Pair]:
            sources: dict[Side, MakeTrees] = {
                "forget": Lessons(self.vlm, forget, INPUTS[modality], config.turns).trees,
                "retain": Lessons(self.vlm, retain, INPUTS["both"], config.turns).trees,
            }
            streams = {
                side: batches(sources[side], config.batch_tokens, f"{key}-{side}", self.vlm) for side in method.sides
            }
            while True:
                yield Pair({side: next(stream) for side, stream in streams.items()})

        schedule = Schedule(learning_rate=method.learning_rate, steps=method.steps)
        return self._trained(name, key, target, method, pairs, schedule, seed)

    def examine(
        self, name: str, weights: Weights | None, exam: Exam, exam_key: str, system: str | None = None
    ) -> pd.DataFrame:
        """What a model answers; `None` stands for the base architecture with random weights."""
        key = key_of("answers", weights.key if weights else [self.base.key, "random"], exam_key, system)
        path = self._cache / "answers" / f"{key}.parquet"
        if not path.is_file():
            vlm = self.vlm.untrained() if weights is None else self.load(weights)
            started = time.monotonic()
            answers = exam.sit(vlm, system=system, name=name, progress=self._progress)
            self._record.log("evaluated", model=name, seconds=round(time.monotonic() - started, 2))
            _replace(path, lambda part: answers.to_parquet(part, index=False))
        return pd.read_parquet(path)

    def load(self, weights: Weights) -> VLM:
        """The one model in memory, with these weights in it."""
        if self._ready != weights:
            self._prepare(weights)
            self._ready = weights
        return self.vlm

    def _prepare(self, weights: Weights) -> None:
        """Base weights, then each file: of full fine-tuning the last holds everything, of LoRA each is one adapter."""
        if self.config.trainable == "lora" or not weights.files:
            self.vlm.reload()
        if self.config.trainable == "full":
            self.vlm.train_language()
            for path in weights.files[-1:]:
                self.vlm.load_trained(path)
        for path in weights.files if self.config.trainable == "lora" else ():
            self.vlm.add_lora(self.config.lora_rank, self.config.lora_alpha, self.config.lora_targets)
            self.vlm.load_trained(path)

    def _trained(
        self,
        name: str,
        key: str,
        start: Weights,
        objective: Objective,
        pairs: Callable[[], Iterator[Pair]],
        schedule: Schedule,
        seed: int,
    ) -> Weights:
        path = self._cache / "weights" / f"{key}.safetensors"
        result = Weights(key, (*start.files, path))
        if path.is_file():
            self._record.log("cached", model=name)
            return result
        vlm = self.load(start)
        if self.config.trainable == "lora":
            vlm.add_lora(self.config.lora_rank, self.config.lora_alpha, self.config.lora_targets)
        self._ready = None
        trainable = vlm.trainable()
        count = sum(parameter.numel() for parameter in trainable)
        self._record.log("training", model=name, trainable_parameters=count, learning_rate=schedule.learning_rate)
        log.info("training model=%s trainable_parameters=%d", name, count)

        def report(step: int, loss: Loss, rate: float) -> None:
            self._record.log("step", model=name, step=step, learning_rate=rate, **loss.parts)

        started = time.monotonic()
        checkpoint = path.with_name(f"{key}.checkpoint.safetensors")
        train(
            vlm, objective, pairs(), schedule, trainable,
            name=name, seed=seed, checkpoint=checkpoint, progress=self._progress, on_step=report,
        )  # fmt: skip
        self._record.log("trained", model=name, seconds=round(time.monotonic() - started, 2))
        _replace(path, vlm.save_trained)
        checkpoint.unlink(missing_ok=True)
        self._ready = result
        return result

    def _trained_part(self) -> dict[str, object]:
        return self.config.model_dump(exclude={"id", "gradient_checkpointing"})

    def _with_replay(self, lessons: MakeTrees, share: float) -> MakeTrees:
        """Lessons of which a share of the tokens is drawn from what the base model already knew."""
        if not share:
            return lessons
        corpus = self._corpus = self._corpus or Corpus(self.vlm, photos=2, num_strangers=120)

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


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    write(part)
    os.replace(part, path)
