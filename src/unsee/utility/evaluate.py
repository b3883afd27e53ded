"""Runs a model on a utility benchmark: published prompts, greedy answers, the published numbers with intervals."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import Field

from unsee.core.errors import ConfigError, RecordError
from unsee.core.files import discard
from unsee.core.journal import Journal
from unsee.core.progress import Progress, Silent
from unsee.core.reading import read_json
from unsee.core.record import Record
from unsee.data.hub import find_folder
from unsee.data.images import check_all
from unsee.forward.generate import Group, generate
from unsee.judge.asking import Asking
from unsee.judge.base import Costs
from unsee.models.vlm import VLM
from unsee.runtime.cache import Cache, key_of
from unsee.runtime.distributed import state
from unsee.scoring.intervals import Bootstrap, estimate
from unsee.scoring.record_file import RecordFile, Strict
from unsee.scoring.table import written
from unsee.utility import UTILITY
from unsee.utility.base import UtilityBenchmark, UtilityItem

IMAGES_AT_ONCE = 64
SENT = "questions, descriptions of images, reference answers and the model's answers"


class UtilityMetric(Strict):
    """One published number with its interval over units (mostly images)."""

    name: str
    value: float
    low: float
    high: float


class UtilityResult(RecordFile):
    """The content of utility-<benchmark>.json.

    Attributes:
        invalid: share of answers that do not have the form that the benchmark asks for.
    """

    version: Literal["unsee.utility/1"] = Field(default="unsee.utility/1", alias="schema")
    benchmark: str
    model: str
    n_items: int
    n_units: int
    invalid: float
    metrics: list[UtilityMetric]


class UtilityRow(NamedTuple):
    """One published number, as text."""

    benchmark: str
    metric: str
    value: str


@dataclass(frozen=True)
class ScoredBenchmark:
    """A model's values of the metrics that a benchmark publishes, and one row per question."""

    result: UtilityResult
    answers: pd.DataFrame

    @property
    def rows(self) -> list[UtilityRow]:
        """The numbers as text."""
        return [UtilityRow(self.result.benchmark, metric.name, written(metric)) for metric in self.result.metrics]

    def save(self, folder: Path) -> None:
        """Write the numbers as JSON and the answers as parquet to a folder."""
        record = Record(folder)
        record.write_table(f"utility-{self.result.benchmark}.parquet", self.answers)
        self.result.save(record, f"utility-{self.result.benchmark}.json")


@dataclass(frozen=True)
class AnsweredBenchmark:
    """A model's answers to a benchmark's questions."""

    name: str
    benchmark: UtilityBenchmark
    model: str
    items: list[UtilityItem]
    answers: list[str]

    def score(self, reviews: Sequence[tuple[int, int] | None] | None = None) -> ScoredBenchmark:
        """Compute the published numbers.

        Args:
            reviews: grades of the reference and of the answer for each question; None for a question without grades.
        """
        marks = [self.benchmark.mark(item, answer) for item, answer in zip(self.items, self.answers, strict=True)]
        table = pd.DataFrame(
            {
                "set": self.name, "group": item.group, "unit": item.unit, "item": item.id, "question": item.text,
                "truth": item.truth, "answer": answer, "read": mark.read, "value": mark.value, "valid": mark.valid,
            }
            for item, answer, mark in zip(self.items, self.answers, marks, strict=True)
        )  # fmt: skip
        if reviews is not None:
            grades = [grades or (math.nan, math.nan) for grades in reviews]
            table[["review_reference", "review_own"]] = pd.DataFrame(grades, dtype=float)
        estimates = {name: estimate(draws) for name, draws in self.benchmark.metrics(Bootstrap(table)).items()}
        result = UtilityResult(
            benchmark=self.name, model=self.model, n_items=len(table), n_units=table["unit"].nunique(),
            invalid=1 - float(table["valid"].mean()),
            metrics=[UtilityMetric(name=name, **one.model_dump()) for name, one in estimates.items() if one],
        )  # fmt: skip
        return ScoredBenchmark(result, table)


class Review:
    """The grades that a reviewing model gives to answers.

    Args:
        answered: the answers.
        asking: the reviewing model and its endpoint.
        folder: the folder for the journal of the replies.

    Raises:
        ConfigError: the benchmark has its own metric and needs no review.
    """

    def __init__(self, answered: AnsweredBenchmark, asking: Asking, folder: Path) -> None:
        check_reviewed(answered.name, answered.benchmark)
        self._benchmark = answered.benchmark
        self._asking = asking
        self._journal = Journal(folder / "review-journal.jsonl")
        chats = [self._benchmark.review_chat(*pair) for pair in zip(answered.items, answered.answers, strict=True)]
        self._keys = [asking.journal_key(self._benchmark.review_version, json.dumps(chat)) for chat in chats]
        self._chats = dict(zip(self._keys, chats, strict=True))

    @property
    def costs(self) -> Costs:
        """The costs of the reviews that the journal does not hold."""
        return self._asking.price_of(self._chats, self._journal, SENT)

    def grades(self, progress: Progress) -> list[tuple[int, int] | None]:
        """Return the grades of reference and answer for each question; None if the reply states none.

        Raises:
            JudgeError: the endpoint refuses or cannot be reached.
        """
        self._asking.ask(self._chats, self._benchmark.read_review, self._journal, progress)
        replies = [self._journal.get(key) for key in self._keys]
        return [None if reply is None else (reply[0], reply[1]) for reply in replies]


def check_other_results(folder: Path, name: str, model: str) -> None:
    """Check that a folder holds no result of another model, which a new one would replace.

    Raises:
        RecordError: it holds one, or a file that is none.
    """
    path = folder / f"utility-{name}.json"
    if not path.is_file():
        return
    found = read_json(path, RecordError)
    other = found.get("model") if isinstance(found, dict) else None
    if other != model:
        raise RecordError(f"{path}: holds the result of another model ({other}); choose another --out or delete it")


def check_reviewed(name: str, benchmark: UtilityBenchmark) -> None:
    """Refuse a review if the benchmark has its own metric.

    Raises:
        ConfigError: it has one.
    """
    if not benchmark.review_version:
        raise ConfigError(f"--review: {name} has a metric of its own; leave it out")


def examine(
    model: str, name: str, data: str | None, *, limit: int | None = None, seed: int = 0,
    progress: Progress | None = None, processor: str = "", out: Path | None = None,
) -> AnsweredBenchmark:  # fmt: skip
    """Ask a model the questions of a benchmark; after an interruption, only those without an answer.

    Args:
        model: as `VLM.load`.
        name: the benchmark's name.
        data: a folder or the name of a dataset on the hub; by default the benchmark's `hub`.
        limit: the largest number of questions; whole units are drawn by `seed`.
        seed: of the draw.
        progress: where long work is shown.
        processor: the model whose processor to use, if this one has none.
        out: the folder that the answers are for.

    Raises:
        UnseeError: the model or the data cannot be used.
    """
    cache = Cache(out)
    benchmark: UtilityBenchmark = UTILITY.get(name)()
    if not (data or benchmark.hub):
        raise ConfigError(f"--data: {name} is not on the hub; give the folder of its files")
    folder = find_folder(data or benchmark.hub, benchmark.files, benchmark.hub or "owner/name", "dataset")
    items = limited(benchmark.items(folder), limit, seed)
    first = {image: item.id for item in reversed(items) for image in item.images}
    check_all((image, f"{name} {id}: its image") for image, id in first.items())
    vlm = VLM.load(model, processor=processor)
    key = key_of("utility", vlm.fingerprint(), benchmark.max_new_tokens)
    path = cache.path("answers", f"{key}.journal")
    journal = Journal(path)
    state().wait_for_everyone()  # no process writes before all have read the journal
    answers = answer_items(vlm, items, benchmark.max_new_tokens, progress, journal)
    if state().is_main_process:
        discard(path)
    return AnsweredBenchmark(name, benchmark, model, items, answers)


def limited(items: Iterable[UtilityItem], limit: int | None, seed: int = 0) -> list[UtilityItem]:
    """Return at most `limit` questions in their order: whole units drawn evenly, but at least one unit."""
    everything = list(items)
    if limit is None:
        return everything
    sizes = Counter(item.unit for item in everything)
    units = random.Random(seed).sample(list(sizes), len(sizes))
    taken, count = set(units[:1]), sum(sizes[unit] for unit in units[:1])
    for unit in units[1:]:
        if count + sizes[unit] <= limit:
            taken.add(unit)
            count += sizes[unit]
    return [item for item in everything if item.unit in taken]


def answer_items(
    vlm: VLM, items: Sequence[UtilityItem], max_new_tokens: int, progress: Progress | None = None,
    journal: Journal | None = None,
) -> list[str]:  # fmt: skip
    """Return the model's answer to every question; questions about the same images are asked together.

    A question that does not fit into the model's context is not asked; its answer is "".

    Args:
        vlm: the model.
        items: the questions.
        max_new_tokens: the largest number of tokens in an answer.
        progress: where long work is shown.
        journal: holds earlier answers; new ones are added batch by batch.
    """
    room = vlm.room(max_new_tokens)
    keys = [_content(item) for item in items]
    answers = {index: journal[key] for index, key in enumerate(keys) if journal is not None and key in journal}
    together: dict[tuple[bytes, ...], list[int]] = {}
    for index, item in enumerate(items):
        if index not in answers:
            together.setdefault(item.images, []).append(index)
    with (progress or Silent()).task("utility", len(items)) as advance:
        advance(len(answers))
        shared = list(together.values())
        for some in (shared[at : at + IMAGES_AT_ONCE] for at in range(0, len(shared), IMAGES_AT_ONCE)):
            asked = [index for indices in some for index in indices]
            answers.update(dict.fromkeys(asked, ""))
            groups, fitting = [], []
            for indices in some:
                group = group_of(vlm, [items[index] for index in indices])
                kept = [n for n, ids in enumerate(group.suffixes) if len(group.prefix) + len(ids) <= room]
                if kept:
                    groups.append(replace(group, suffixes=[group.suffixes[n] for n in kept]))
                    fitting += [indices[n] for n in kept]
            rows = [row for group in generate(vlm, groups, max_new_tokens=max_new_tokens) for row in group]
            answers.update(zip(fitting, vlm.decode(rows), strict=True))
            if journal is not None and state().is_main_process:
                for index in asked:
                    journal.add(keys[index], answers[index])
            advance(len(asked))
    return [answers[index] for index in range(len(items))]


def _content(item: UtilityItem) -> str:
    """Return a hash of everything that decides an answer."""
    return key_of(item.text, [hashlib.sha256(image).hexdigest() for image in item.images])


def group_of(vlm: VLM, items: Sequence[UtilityItem]) -> Group:
    """Return the chat prompts of questions about the same images."""
    pictures = [vlm.picture(image) for image in items[0].pictures()]
    return Group.of([vlm.text_ids(text, pictures) for text in _prompts(vlm, items, len(pictures))], pictures)


def _prompts(vlm: VLM, items: Sequence[UtilityItem], num_pictures: int) -> Iterator[str]:
    """Yield the rendered chats. An image placeholder in the text of a question is replaced by the word "image"."""
    for item in items:
        text = item.text.replace(vlm.family.placeholder, "image")
        content = [{"type": "image"}] * num_pictures + [{"type": "text", "text": text}]
        turn: dict[str, Any] = {"role": "user", "content": content}
        yield vlm.chat.render([turn])
