"""The exam of runs about people: every question is scored and answered once, and all metrics are computed from that.

Questions about one photo share one forward pass over it. An `Exam` is prepared once and examines every model. With
several processes, each answers its share of the batches and gets all answers.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import ModelError
from unsee.core.journal import Journal
from unsee.core.progress import Advance, Progress, Silent
from unsee.core.record import LEAK, OPTIONAL_METRICS, PAIR, Better
from unsee.core.source import source_hash
from unsee.data.general import GeneralItem
from unsee.data.schema import Benchmark, Question, letters
from unsee.exams.metrics import make_metrics, metrics_key
from unsee.exams.plan import CellKey, ExamPlan, Item, PromptGroup, general_group
from unsee.exams.template_floor import template_floor
from unsee.forward.generate import Reply, Sampling, replies
from unsee.forward.prompts import answer_ids, cut_answer, opening_ids, read_letter, render
from unsee.forward.trees import Tree, build_tree, shared_length
from unsee.methods.base import Guard
from unsee.metrics.base import AnsweredQuestion, Metric
from unsee.models.vlm import VLM
from unsee.runtime.cache import key_of
from unsee.runtime.distributed import state, union

Answered = tuple[list[str], list[tuple[float, int]]]
"""The written answers (none if only alternatives are scored), and log-probability and length of each alternative."""
Tokens = tuple[int, ...]


class TooLong(ModelError):
    """A question that does not fit into the model's context."""


class Exam:
    """All questions of one evaluation.

    Args:
        vlm: its processor prepares the photos; the exam can examine any model with the same processor.
        benchmark: the four sets.
        general: items unrelated to the people.
        config: the settings of the evaluation.
        metrics: the metrics of an answer by name; every registered metric by default.
        retain_evaluated: the largest number of retained people to ask about.
        celebrities_evaluated: the largest number of celebrities to ask about.

    Attributes:
        prompt_groups: all questions.

    Raises:
        ConfigError: everybody in a set serves as a shot, so that nobody is left to ask about.
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
        self._asked: tuple[object, ...] = (
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
        plan = ExamPlan(vlm, config, benchmark)
        self.prompt_groups = [group for name, who in people.items() for group in plan.prompt_groups(name, who)]
        self.prompt_groups += [general_group(vlm, item) for item in general]
        self._samples = 0
        self._trees: dict[str | None, list[list[_GroupTree]]] = {}

    def only(self, cells: Collection[CellKey]) -> Exam:
        """Return an exam with the questions of some cells only."""
        groups = (replace(g, items=[item for item in g.items if item.cell in cells]) for g in self.prompt_groups)
        return self.asking([group for group in groups if group.items], sorted(cells))

    def asking(self, groups: list[PromptGroup], changed: object, samples: int = 0) -> Exam:
        """Return an exam that asks other prompt groups.

        Args:
            groups: their items have the sets, units and IDs of this exam.
            changed: everything that decides them besides what decides this exam, for its key.
            samples: number of answers in words to draw at temperature 1, of which the best counts by each metric; 0
                takes the greedy one.
        """
        exam = copy.copy(self)
        exam.prompt_groups, exam._samples = groups, samples
        exam._asked, exam._trees = (*self._asked, changed, *([samples] if samples else [])), {}
        return exam

    @property
    def better(self) -> dict[str, Better]:
        """The direction of every metric, by name."""
        return {name: metric.better for name, metric in self._metrics.items()}

    @property
    def key(self) -> str:
        """Hash of everything that decides the questions, how answers are read, and their metrics."""
        return key_of("exam", *self._asked, metrics_key(self._metrics), source_hash(__name__))

    def examine(
        self,
        vlm: VLM,
        *,
        system: str | None = None,
        name: str = "model",
        progress: Progress | None = None,
        journal: Journal | None = None,
        every: bool = False,
    ) -> pd.DataFrame:
        """Ask a model every question.

        Args:
            vlm: the model.
            system: a system prompt before every question.
            name: the name of the model in the progress bar.
            progress: where long work is shown.
            journal: holds the model's earlier answers; new ones are added to it.
            every: return a row for each answer where several are drawn, not the best.

        Returns:
            One row per item: the columns of `unsee.core.record.ANSWER_COLUMNS` from `set` on, and the metrics.

        Raises:
            ModelError: a prompt does not fit into the model's context.
        """
        with (progress or Silent()).task(f"evaluate {name}", len(self.prompt_groups)) as advance:
            answered = self._answers(vlm, system, journal, advance)
        rows = []
        for item in self._items():
            texts, scores = answered[item.id]
            read = [self._read(item.question, text, scores) for text in texts or [""]]
            own = [self._row(item, answer, valid, scores) for answer, valid in read]
            rows += own if every else [self._best(own)]
        return _with_values(pd.DataFrame(rows))

    def _best(self, rows: list[dict[str, object]]) -> dict[str, object]:
        """Return the answer that is nearest to the truth, with the best value of each metric over all of them."""
        if len(rows) == 1:
            return rows[0]
        table = pd.DataFrame(rows)
        by = next(name for name in (LEAK, "accuracy", "rouge_l") if name in table and table[name].notna().all())
        nearest = rows[int(table[by].to_numpy().argmax())]
        best = {
            name: table[name].agg("max" if metric.better == "higher" else "min")
            for name, metric in self._metrics.items()
        }
        return nearest | best

    def guarded(self, answers: pd.DataFrame, guard: Guard) -> pd.DataFrame:
        """Return the answers, with those of the guard to the questions that it answers; it never chooses an option."""
        items = {item.id: item for item in self._items()}
        rows = []
        for row in answers.to_dict("records"):
            item = items[row["item"]]
            if text := guard(item.question.question):
                impossible = [(-math.inf, 1)] * len(self._alternatives(item.question))
                row |= self._row(item, text, item.question.task != "classification", impossible)
            rows.append(row)
        return pd.DataFrame(rows, columns=answers.columns)

    def answered(self, item: Item, answer: str) -> dict[str, object]:
        """Return the row of an item with an answer that was found in another way; no probability is known."""
        return self._row(item, answer, True, [(math.nan, 1)] * len(self._alternatives(item.question)))

    def prompts(self, vlm: VLM, group: PromptGroup, items: Sequence[Item]) -> list[list[int]]:
        """Return the prompts of some items of a group as tokens."""
        texts = [
            render(vlm, item.question, self._config, shots=group.shots, turns=item.turns).rstrip(" ") for item in items
        ]
        return vlm.texts_ids(texts, group.pictures)

    def _items(self) -> list[Item]:
        return [item for group in self.prompt_groups for item in group.items]

    def _answers(self, vlm: VLM, system: str | None, journal: Journal | None, advance: Advance) -> dict[str, Answered]:
        """Return the model's answer to every item, by the ID of the item."""
        known = {item.id for item in self._items() if journal is not None and item.id in journal}
        groups = self._trees_by_beginning(vlm, system)
        for one in itertools.chain.from_iterable(groups):
            self._check_length(vlm, one)
        done = {
            (group, number)
            for group, trees in enumerate(groups)
            for number, one in enumerate(trees)
            if known.issuperset(one.places)
        }
        advance(len(done))
        new: dict[str, Answered] = {}
        length, size = self._config.max_new_tokens, self._config.batch_size
        asked = [[one.tree for one in trees] for trees in groups]
        sampling = Sampling(seed=self._config.seed) if self._samples else None
        for batch in replies(vlm, asked, max_new_tokens=length, batch_size=size, done=done, sampling=sampling):
            for (group, number), reply in batch.items():
                for id, (texts, scores) in groups[group][number].read(vlm, reply).items():
                    answered = [cut_answer(text, self._config.protocol) for text in texts], scores
                    new[id] = answered
                    if journal is not None and id not in known:
                        journal.add(id, answered)
            advance(len(batch.keys() - done) * state().num_processes)
        earlier = {id: journal[id] for id in known} if journal is not None else {}
        return earlier | union(new)

    def _trees_by_beginning(self, vlm: VLM, system: str | None) -> list[list[_GroupTree]]:
        """Return the trees of all prompt groups, those with the same beginning together; every model gets the same."""
        if system not in self._trees:
            alike: dict[tuple[object, ...], list[_GroupTree]] = {}
            for group in self.prompt_groups:
                beginning = bool(group.pictures), group.pictures[:-1], group.shots
                alike.setdefault(beginning, []).append(self._group_tree(vlm, group, system))
            self._trees[system] = list(alike.values())
        return self._trees[system]

    def _group_tree(self, vlm: VLM, group: PromptGroup, system: str | None) -> _GroupTree:
        """Return the tree of a prompt group. Alternatives are scored after the prompt without trailing spaces."""
        texts = [
            render(vlm, item.question, self._config, shots=group.shots, system=system, turns=item.turns)
            for item in group.items
        ]
        distinct = list(dict.fromkeys(form for text in texts for form in (text.rstrip(" "), text)))
        ids = dict(zip(distinct, map(tuple, vlm.texts_ids(distinct, group.pictures)), strict=True))
        alternatives = [
            [f"{item.opening} {text}" if item.opening else text for text in self._alternatives(item.question)]
            for item in group.items
        ]
        answers = iter(answer_ids(vlm, list(itertools.chain.from_iterable(alternatives)), self._config.protocol))
        openings = {item.opening: opening_ids(vlm, item.opening, self._config.protocol) for item in group.items}
        result = _GroupTree(group, max(1, self._samples))
        for item, text, options in zip(group.items, texts, alternatives, strict=True):
            is_written = item.question.task != "classification" or self._config.choice == "letter"
            rows = list(itertools.islice(answers, len(options)))
            given = openings[item.opening]
            given = given[: shared_length([[*given, -1], *rows])]  # some tokenizers join its end and an answer
            asked = (*ids[text.rstrip(" ")], *given)
            written = (asked if given else ids[text]) if is_written else None
            result.add(item, asked, [row[len(given) :] for row in rows], written)
        return result

    def _alternatives(self, question: Question) -> list[str]:
        """Return the texts to score.

        They are all options of a choice, or the letter of the truth if letters are written. Of any other question they
        are the truth, and if there are perturbed answers, the truth in other words and these.
        """
        if not question.options:
            others = (question.paraphrase or question.answer, *question.perturbed) if question.perturbed else ()
            return [question.answer, *others]
        if self._config.choice == "letter":
            return [letters(question.options)[question.options.index(question.answer)]]
        return list(question.options)

    def _check_length(self, vlm: VLM, tree: _GroupTree) -> None:
        group, length = tree.group, max(map(len, tree.alternatives))
        room = vlm.room(self._config.max_new_tokens)
        if length > room:
            first, advice = group.items[0], "use fewer shots" if group.shots else "lower evaluation.max_new_tokens"
            raise TooLong(
                f"evaluation: a {first.question.task} prompt of the {first.set} set has {length} tokens with "
                f"{len(group.pictures)} images; model {vlm.id} has room for {room} before an answer; {advice}"
            )

    def _read(self, question: Question, text: str, scores: list[tuple[float, int]]) -> tuple[str, bool]:
        """Return the answer as text, and True if it could be read."""
        if question.task != "classification":
            return text, bool(text)
        if self._config.choice == "likelihood":
            best = max(range(len(scores)), key=lambda i: scores[i][0])
            return question.options[best], True
        known = letters(question.options)
        letter = read_letter(text, self._config.parser, known)
        return (question.options[known.index(letter)], True) if letter else ("", False)

    def _row(self, item: Item, answer: str, valid: bool, scores: list[tuple[float, int]]) -> dict[str, object]:
        question = item.question
        truth = question.options.index(question.answer) if question.options and len(scores) > 1 else 0
        log_probability, num_tokens = scores[truth]
        answered = AnsweredQuestion(
            question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens,
            others=tuple(scores[1:]) if question.perturbed and not question.options else (),
        )  # fmt: skip
        values = {
            name: float(metric.score(answered)) if question.task in metric.tasks else float("nan")
            for name, metric in self._metrics.items()
        }
        chance = {"generation": math.nan, "classification": 1 / max(1, len(question.options))}.get(question.task, 0.0)
        floor = self._floors.get((item.set, item.unit, question), float("nan"))
        return {
            "set": item.set, "task": question.task, "input": question.input, "unit": item.unit, "item": item.id,
            "question": question.question, "truth": question.answer, "answer": answer,
            "options": list(question.options), "valid": valid, "chance": chance, "floor": floor,
            PAIR: question.pair, **values,
        }  # fmt: skip


def _with_values(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the answers without pairs and optional metrics, if these questions have none."""
    empty = [name for name in OPTIONAL_METRICS if name in answers and answers[name].isna().all()]
    if PAIR in answers and not answers[PAIR].astype(bool).any():
        empty.append(PAIR)
    return answers.drop(columns=empty)


@dataclass(frozen=True)
class _Place:
    """The place of an item in a tree.

    Attributes:
        scored: the prompt after which its alternatives are scored.
        first: the index of the first of them among the alternatives of that prompt.
        end: the index after the last of them.
        written: the prompt that the model answers in its own words; None if it does not.
    """

    scored: Tokens
    first: int
    end: int
    written: Tokens | None


@dataclass
class _GroupTree:
    """A prompt group as a tree; each prompt occurs once, also if it is both scored and answered in writing.

    Attributes:
        group: the prompt group.
        alternatives: the answers to score after each prompt.
        places: the places of the items by their IDs.
        answers: number of answers to write after each prompt that is answered in writing.
    """

    group: PromptGroup
    answers: int = 1
    alternatives: dict[Tokens, list[list[int]]] = field(default_factory=dict)
    places: dict[str, _Place] = field(default_factory=dict)

    def add(self, item: Item, prompt: Tokens, answers: list[list[int]], written: Tokens | None) -> None:
        """Add an item with the answers to score after a prompt, and the prompt to answer in writing, if any."""
        scored = self.alternatives.setdefault(prompt, [])
        self.places[item.id] = _Place(prompt, len(scored), len(scored) + len(answers), written)
        scored += answers
        if written is not None:
            self.alternatives.setdefault(written, [])

    @cached_property
    def tree(self) -> Tree:
        """The tree, once every item is added."""
        numbers = {prompt: number for number, prompt in enumerate(self.alternatives)}
        written = sorted({numbers[place.written] for place in self.places.values() if place.written is not None})
        prompts, answers = list(map(list, self.alternatives)), list(self.alternatives.values())
        return build_tree(prompts, answers, self.group.pictures, written=np.repeat(written, self.answers).tolist())

    def read(self, vlm: VLM, reply: Reply) -> dict[str, Answered]:
        """Return the answer to each item from the reply to the tree."""
        prompts, counts = list(self.alternatives), map(len, self.alternatives.values())
        before = dict(zip(prompts, itertools.accumulate(counts, initial=0), strict=False))
        texts: dict[Tokens, list[str]] = {}
        for number, text in zip(self.tree.written, vlm.decode(reply.written), strict=True):
            texts.setdefault(prompts[number], []).append(text)
        return {
            id: (
                [] if place.written is None else texts[place.written],
                reply.scores[before[place.scored] + place.first : before[place.scored] + place.end],
            )
            for id, place in self.places.items()
        }
