"""The one evaluation loop: every question is scored and answered once, and all metrics are read off that.

Questions about one photo share one forward pass over the photo. An `Exam` is prepared once and sat by every model; of
several processes each does its share of the batches that one would make, and gets all answers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import cast

import pandas as pd
import torch

from unsee.collate import build_tree, collate, pack_by_length
from unsee.config import EvaluationConfig
from unsee.data.general import GeneralItem
from unsee.data.schema import LETTERS, Benchmark, Question
from unsee.errors import ModelError
from unsee.floor import template_floor
from unsee.generate import Group, generate
from unsee.methods.base import Guard
from unsee.metrics import METRICS
from unsee.metrics.base import Given, Metric
from unsee.models.vlm import VLM
from unsee.processes import share, state, union
from unsee.progress import Advance, Progress, Silent
from unsee.prompts import answer_ids, read_letter, render
from unsee.sheets import Item, Setting, Sheet, general_sheet
from unsee.train import Scorer

SCORE_TOKENS = 8192


class Exam:
    """All questions of one evaluation.

    Args:
        vlm: its processor prepares the photos; any model with the same processor may sit the exam.
        benchmark: the four sets.
        general: items that have nothing to do with the people.
        config: the protocol and its keys.
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
        retain_evaluated: int | None = None,
        celebrities_evaluated: int | None = None,
    ) -> None:
        self._config = config
        self._metrics = {name: cast(Metric, _built(METRICS.get(name), config)) for name in METRICS.names()}
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

    def sit(
        self, vlm: VLM, *, system: str | None = None, name: str = "model", progress: Progress | None = None
    ) -> pd.DataFrame:
        """Answers and scores of every item, in the columns of `unsee.record.ANSWER_COLUMNS` from `set` on.

        Args:
            vlm: the model under examination.
            system: a system prompt before every question.
            name: shown while it works.
            progress: where to show it.

        Raises:
            ModelError: a prompt does not fit into the model's context.
        """
        with (progress or Silent()).task(f"evaluate {name}", 2 * len(self.sheets)) as advance:
            scores = self._score(vlm, system, advance)
            texts = self._write(vlm, system, advance)
        rows = []
        for item in (item for sheet in self.sheets for item in sheet.items):
            answer, valid = self._read(item.question, texts.get(item.id), scores[item.id])
            rows.append(self._row(item, answer, valid, scores[item.id]))
        return pd.DataFrame(rows)

    def guarded(self, answers: pd.DataFrame, guard: Guard) -> pd.DataFrame:
        """The same answers where a guard speaks in the model's place; to a choice it gives no option."""
        items = {item.id: item for sheet in self.sheets for item in sheet.items}
        rows = []
        for row in answers.to_dict("records"):
            item = items[row["item"]]
            if said := guard(item.question.question):
                impossible = [(-math.inf, 1)] * max(1, len(item.question.options))
                row |= self._row(item, said, item.question.task != "classification", impossible)
            rows.append(row)
        return pd.DataFrame(rows, columns=answers.columns)

    def _score(self, vlm: VLM, system: str | None, advance: Advance) -> dict[str, list[tuple[float, int]]]:
        """(log-probability, tokens) of each option, or of the truth where there are no options."""
        scorer = Scorer(vlm)
        trees, keys = [], []
        for sheet in self.sheets:
            texts = [self._alternatives(item.question) for item in sheet.items]
            answers = [answer_ids(vlm, alternatives, self._config.protocol) for alternatives in texts]
            prompts = [vlm.text_ids(prompt.rstrip(" "), sheet.pictures) for prompt in self._prompts(vlm, sheet, system)]
            self._check_length(vlm, sheet, max(map(len, prompts)))
            trees.append(build_tree(prompts, answers, sheet.pictures))
            keys.append([(item.id, len(alternatives)) for item, alternatives in zip(sheet.items, texts, strict=True)])
        found: dict[str, list[tuple[float, int]]] = {}
        for rows in share(pack_by_length(trees, SCORE_TOKENS)):
            with torch.no_grad():
                scored = scorer(collate([trees[row] for row in rows], vlm).to(vlm.device))
            values = zip(scored.log_probability_I.tolist(), scored.length_I.tolist(), strict=True)
            for id, count in (key for row in rows for key in keys[row]):
                found[id] = [next(values) for _ in range(count)]
            advance(len(rows) * state().num_processes)
        return union(found)

    def _alternatives(self, question: Question) -> list[str]:
        """What is scored: the options, as texts or as the letters that are asked for, or else the truth."""
        if question.options and self._config.choice == "letter":
            return list(LETTERS[: len(question.options)])
        return list(question.options) or [question.answer]

    def _write(self, vlm: VLM, system: str | None, advance: Advance) -> dict[str, str]:
        """The text written for each item that needs one."""
        groups, keys = [], []
        for sheet in self.sheets:
            wanted = [item.question.task != "classification" or self._config.choice == "letter" for item in sheet.items]
            texts = [text for text, want in zip(self._prompts(vlm, sheet, system), wanted, strict=True) if want]
            if texts:
                groups.append(Group.of([vlm.text_ids(text, sheet.pictures) for text in texts], sheet.pictures))
                keys.append([item.id for item, want in zip(sheet.items, wanted, strict=True) if want])
        answers = generate(
            vlm, groups, max_new_tokens=self._config.max_new_tokens, batch_size=self._config.batch_size
        )  # fmt: skip
        advance(len(self.sheets))
        ids = [id for group in keys for id in group]
        return dict(zip(ids, vlm.decode([row for group in answers for row in group]), strict=True))

    def _prompts(self, vlm: VLM, sheet: Sheet, system: str | None) -> list[str]:
        return [render(vlm, item.question, self._config, shots=sheet.shots, system=system) for item in sheet.items]

    def _check_length(self, vlm: VLM, sheet: Sheet, length: int) -> None:
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
        log_probability, num_tokens = scores[question.options.index(question.answer) if question.options else 0]
        given = Given(question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens)
        values = {
            name: metric.score(given) if question.task in metric.tasks else float("nan")
            for name, metric in self._metrics.items()
        }
        chance = {"classification": 1 / max(1, len(question.options)), "cloze": 0.0}.get(question.task, float("nan"))
        floor = self._floors.get((item.set, item.person, question), float("nan"))
        return {
            "set": item.set, "task": question.task, "input": question.input, "person": item.person, "item": item.id,
            "question": question.question, "truth": question.answer, "answer": answer,
            "options": list(question.options), "valid": valid, "chance": chance, "floor": floor, **values,
        }  # fmt: skip


def _built(metric: type, config: EvaluationConfig) -> object:
    """The metric with its fields taken from the keys of the evaluation."""
    return metric(**{field.name: getattr(config, field.name) for field in fields(metric)})
