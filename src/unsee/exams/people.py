"""The one evaluation loop: every question is scored and answered once, and all metrics are read off that.

Questions about one photo share one forward pass over the photo. An `Exam` is prepared once and sat by every model; of
several processes each does its share of the batches that one would make, and gets all answers.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import ModelError
from unsee.core.journal import Journal
from unsee.core.progress import Advance, Progress, Silent
from unsee.core.record import Better
from unsee.core.source import source_hash
from unsee.data.general import GeneralItem
from unsee.data.schema import LETTERS, Benchmark, Question
from unsee.exams.metrics import make_metrics, metrics_key
from unsee.exams.sheets import Item, Setting, Sheet, general_sheet
from unsee.exams.template_floor import template_floor
from unsee.forward.generate import Reply, replies
from unsee.forward.prompts import answer_ids, read_letter, render
from unsee.forward.trees import Tree, build_tree
from unsee.methods.base import Guard
from unsee.metrics.base import Given, Metric
from unsee.models.vlm import VLM
from unsee.runtime.cache import key_of
from unsee.runtime.distributed import state, union

Answered = tuple[str | None, list[tuple[float, int]]]
"""What was written, if anything was asked for, and the log-probability and length of each alternative."""


class Exam:
    """All questions of one evaluation.

    Args:
        vlm: its processor prepares the photos; any model with the same processor may sit the exam.
        benchmark: the four sets.
        general: items that have nothing to do with the people.
        config: the protocol and its keys.
        metrics: what is computed of every answer, by name; every registered metric by default.
        retain_evaluated: at most this many retained people.
        celebrities_evaluated: at most this many celebrities.

    Raises:
        ConfigError: the people who serve as shots leave nobody to ask.
    """

    def __init__(
        self,
        vlm: VLM,
        benchmark: Benchmark,
        general: Sequence[GeneralItem],
        config: EvaluationConfig,
        *,
        metrics: Mapping[str, Metric] | None = None,
        retain_evaluated: int | None = None,
        celebrities_evaluated: int | None = None,
    ) -> None:
        self._config = config
        self._metrics = make_metrics(config, {}) if metrics is None else metrics
        self._asked = (
            benchmark.fingerprint, config.model_dump(exclude={"bootstrap"}), retain_evaluated, celebrities_evaluated,
            [vars(item) | {"image": item.image and hashlib.sha256(item.image).hexdigest()} for item in general],
        )  # fmt: skip
        people = {
            "forget": benchmark.forget,
            "test": benchmark.test,
            "retain": benchmark.retain[:retain_evaluated],
            "celebrity": benchmark.celebrity[:celebrities_evaluated],
        }
        self._floors = {
            (name, *key): floor for name, who in people.items() for key, floor in template_floor(who).items()
        }
        setting = Setting(vlm, config, benchmark)
        self.sheets = [sheet for name, who in people.items() for sheet in setting.sheets(name, who)]
        self.sheets += [general_sheet(vlm, item) for item in general]
        self._groups: dict[str | None, list[list[_Asked]]] = {}

    @property
    def better(self) -> dict[str, Better]:
        """The direction of every metric, by name."""
        return {name: metric.better for name, metric in self._metrics.items()}

    @property
    def key(self) -> str:
        """The key of everything that decides what is asked, how answers are read, and what is measured of them."""
        return key_of("exam", *self._asked, metrics_key(self._metrics), source_hash(__name__))

    def sit(
        self,
        vlm: VLM,
        *,
        system: str | None = None,
        name: str = "model",
        progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> pd.DataFrame:
        """Return answers and metrics of every item: the columns of `unsee.core.record.ANSWER_COLUMNS` from `set` on.

        Args:
            vlm: the model under examination.
            system: a system prompt before every question.
            name: shown while it works.
            progress: where to show it.
            journal: what this model was already asked; each new answer is noted in it.

        Raises:
            ModelError: a prompt does not fit into the model's context.
        """
        with (progress or Silent()).task(f"evaluate {name}", len(self.sheets)) as advance:
            given = self._ask(vlm, system, journal, advance)
        rows = []
        for item in (item for sheet in self.sheets for item in sheet.items):
            text, scores = given[item.id]
            answer, valid = self._read(item.question, text, scores)
            rows.append(self._row(item, answer, valid, scores))
        return pd.DataFrame(rows)

    def guarded(self, answers: pd.DataFrame, guard: Guard) -> pd.DataFrame:
        """The same answers where a guard speaks in the model's place; to a choice it gives no option."""
        items = {item.id: item for sheet in self.sheets for item in sheet.items}
        rows = []
        for row in answers.to_dict("records"):
            item = items[row["item"]]
            if said := guard(item.question.question):
                impossible = [(-math.inf, 1)] * len(self._alternatives(item.question))
                row |= self._row(item, said, item.question.task != "classification", impossible)
            rows.append(row)
        return pd.DataFrame(rows, columns=answers.columns)

    def _ask(self, vlm: VLM, system: str | None, journal: Journal | None, advance: Advance) -> dict[str, Answered]:
        """What the model says to every item."""
        known = {item.id for sheet in self.sheets for item in sheet.items if journal is not None and item.id in journal}
        groups = self._grouped(vlm, system)
        for asked in itertools.chain.from_iterable(groups):
            self._check_length(vlm, asked)
        done = {
            (group, number)
            for group, sheets in enumerate(groups)
            for number, asked in enumerate(sheets)
            if known.issuperset(asked.places)
        }
        advance(len(done))
        found: dict[str, Answered] = {}
        trees = [[asked.tree for asked in group] for group in groups]
        length, size = self._config.max_new_tokens, self._config.batch_size
        for batch in replies(vlm, trees, max_new_tokens=length, batch_size=size, done=done):
            for (group, number), reply in batch.items():
                for id, said in groups[group][number].read(vlm, reply).items():
                    found[id] = said
                    if journal is not None and id not in known:
                        journal.add(id, said)
            advance(len(batch.keys() - done) * state().num_processes)
        earlier = {id: journal[id] for id in known} if journal is not None else {}
        return earlier | union(found)

    def _grouped(self, vlm: VLM, system: str | None) -> list[list[_Asked]]:
        """The sheets, those that begin alike together; tokens are the same for every model that sits the exam."""
        if system not in self._groups:
            alike: dict[tuple[object, ...], list[_Asked]] = {}
            for sheet in self.sheets:
                beginning = bool(sheet.pictures), sheet.pictures[:-1], sheet.shots
                alike.setdefault(beginning, []).append(self._put(vlm, sheet, system))
            self._groups[system] = list(alike.values())
        return self._groups[system]

    def _put(self, vlm: VLM, sheet: Sheet, system: str | None) -> _Asked:
        """The items of a sheet under what they share; a prompt that is scored and answered in writing stands once."""
        texts = [render(vlm, item.question, self._config, shots=sheet.shots, system=system) for item in sheet.items]
        distinct = list(dict.fromkeys(form for text in texts for form in (text.rstrip(" "), text)))
        ids = dict(zip(distinct, map(tuple, vlm.texts_ids(distinct, sheet.pictures)), strict=True))
        alternatives = [self._alternatives(item.question) for item in sheet.items]
        answers = iter(answer_ids(vlm, list(itertools.chain.from_iterable(alternatives)), self._config.protocol))
        prompts: dict[tuple[int, ...], list[list[int]]] = {}
        places: dict[str, _Place] = {}
        for item, text, own in zip(sheet.items, texts, alternatives, strict=True):
            scored, written = ids[text.rstrip(" ")], None
            leaves = prompts.setdefault(scored, [])
            first = len(leaves)
            leaves += itertools.islice(answers, len(own))
            if item.question.task != "classification" or self._config.choice == "letter":
                written = ids[text]
                prompts.setdefault(written, [])
            places[item.id] = _Place(scored, first, len(leaves), written)
        numbers = {prompt: number for number, prompt in enumerate(prompts)}
        spoken = sorted({numbers[place.written] for place in places.values() if place.written is not None})
        tree = build_tree(list(map(list, prompts)), list(prompts.values()), sheet.pictures, written=spoken)
        return _Asked(sheet, tree, prompts, places)

    def _alternatives(self, question: Question) -> list[str]:
        """What is scored: the truth, its letter where one is written, all options where the likeliest is chosen."""
        if not question.options:
            return [question.answer]
        if self._config.choice == "letter":
            return [LETTERS[question.options.index(question.answer)]]
        return list(question.options)

    def _check_length(self, vlm: VLM, asked: _Asked) -> None:
        sheet, length = asked.sheet, max(map(len, asked.prompts))
        context = getattr(vlm.model.config.get_text_config(), "max_position_embeddings", sys.maxsize)
        room = context - self._config.max_new_tokens
        if length > room:
            first, advice = sheet.items[0], "use fewer shots" if sheet.shots else "lower evaluation.max_new_tokens"
            raise ModelError(
                f"evaluation: a {first.question.task} prompt of the {first.set} set has {length} tokens with "
                f"{len(sheet.pictures)} images; model {vlm.id} has room for {room} before an answer; {advice}"
            )

    def _read(self, question: Question, text: str | None, scores: list[tuple[float, int]]) -> tuple[str, bool]:
        """The answer as text, and whether there is one."""
        if question.task != "classification":
            return text or "", bool(text)
        if self._config.choice == "likelihood":
            best = max(range(len(scores)), key=lambda i: scores[i][0])
            return question.options[best], True
        letter = read_letter(text or "", self._config.parser)
        return (question.options[LETTERS.index(letter)], True) if letter else ("", False)

    def _row(self, item: Item, answer: str, valid: bool, scores: list[tuple[float, int]]) -> dict[str, object]:
        question = item.question
        truth = question.options.index(question.answer) if len(scores) > 1 else 0
        log_probability, num_tokens = scores[truth]
        given = Given(question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens)
        values = {
            name: float(metric.score(given)) if question.task in metric.tasks else float("nan")
            for name, metric in self._metrics.items()
        }
        chance = {"classification": 1 / max(1, len(question.options)), "cloze": 0.0}.get(question.task, float("nan"))
        floor = self._floors.get((item.set, item.unit, question), float("nan"))
        return {
            "set": item.set, "task": question.task, "input": question.input, "unit": item.unit, "item": item.id,
            "question": question.question, "truth": question.answer, "answer": answer,
            "options": list(question.options), "valid": valid, "chance": chance, "floor": floor, **values,
        }  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Where an item is in its tree.

    Attributes:
        scored: the prompt under which its alternatives are.
        first: the first of them.
        end: the first after them.
        written: the prompt that it answers in writing, if it does.
    """

    scored: tuple[int, ...]
    first: int
    end: int
    written: tuple[int, ...] | None


@dataclass(frozen=True)
class _Asked:
    """A sheet, also as a tree, its prompts with their answers, and the place of each of its items."""

    sheet: Sheet
    tree: Tree
    prompts: Mapping[tuple[int, ...], list[list[int]]]
    places: Mapping[str, _Place]

    def read(self, vlm: VLM, reply: Reply) -> dict[str, Answered]:
        """What was said to each item."""
        counts = [len(leaves) for leaves in self.prompts.values()]
        before = dict(zip(self.prompts, itertools.accumulate(counts, initial=0), strict=False))
        prompts = list(self.prompts)
        texts = dict(zip((prompts[i] for i in self.tree.written), vlm.decode(reply.written), strict=True))
        return {
            id: (
                None if place.written is None else texts[place.written],
                reply.scores[before[place.scored] + place.first : before[place.scored] + place.end],
            )
            for id, place in self.places.items()
        }
