"""The one evaluation loop: every question is scored and answered once, and all metrics are read off that.

Questions about one photo share one forward pass over the photo. An `Exam` is prepared once and sat by every model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd
import torch

from unsee.collate import build_tree, collate, pack_by_length
from unsee.config import EvaluationConfig
from unsee.data.general import GeneralItem
from unsee.data.schema import LETTERS, Benchmark, Person, Question
from unsee.generate import Group, generate
from unsee.metrics import METRICS
from unsee.metrics.base import Given, Metric
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.progress import Advance, Progress, Silent
from unsee.prompts import ask
from unsee.train import Scorer

SCORE_TOKENS = 8192


@dataclass(frozen=True)
class Item:
    """One question of the exam, with an ID that is the same for every model."""

    set: str
    person: str
    id: str
    question: Question


@dataclass(frozen=True)
class Sheet:
    """Items asked with one photo, or one person's items asked by name (no picture)."""

    items: list[Item]
    picture: Picture | None

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The photo, if there is one."""
        return (self.picture,) if self.picture else ()


class Exam:
    """All questions of one evaluation.

    Args:
        vlm: its processor prepares the photos; any model with the same processor may sit the exam.
        benchmark: the four sets.
        general: items that have nothing to do with the people.
        config: how options are chosen and how long answers may be.
        retain_evaluated: at most this many retained people.
        celebrities_evaluated: at most this many celebrities.
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
        self._metrics = {name: cast(Metric, METRICS.get(name)()) for name in METRICS.names()}
        people = {
            "forget": benchmark.forget,
            "test": benchmark.test,
            "retain": benchmark.retain[:retain_evaluated],
            "celebrity": benchmark.celebrity[:celebrities_evaluated],
        }
        self.sheets = [sheet for name, who in people.items() for person in who for sheet in _sheets(vlm, name, person)]
        self.sheets += [_general_sheet(vlm, item) for item in general]

    def sit(
        self, vlm: VLM, *, system: str | None = None, name: str = "model", progress: Progress | None = None
    ) -> pd.DataFrame:
        """Answers and scores of every item, in the columns of `unsee.record.ANSWER_COLUMNS` from `set` on.

        Args:
            vlm: the model under examination.
            system: a system prompt before every question.
            name: shown while it works.
            progress: where to show it.
        """
        with (progress or Silent()).task(f"evaluate {name}", 2 * len(self.sheets)) as advance:
            scores = self._score(vlm, system, advance)
            texts = self._write(vlm, system, advance)
        rows = []
        for item in (item for sheet in self.sheets for item in sheet.items):
            answer, valid = self._read(item.question, texts.get(item.id), scores[item.id])
            rows.append(self._row(item, answer, valid, scores[item.id]))
        return pd.DataFrame(rows)

    def _score(self, vlm: VLM, system: str | None, advance: Advance) -> dict[str, list[tuple[float, int]]]:
        """(log-probability, tokens) of each option, or of the truth where there are no options."""
        scorer = Scorer(vlm)
        trees, keys = [], []
        for sheet in self.sheets:
            texts = [list(item.question.options) or [item.question.answer] for item in sheet.items]
            prompts = self._prompts(vlm, sheet, system)
            trees.append(build_tree(prompts, [vlm.answer_ids(alternatives) for alternatives in texts], sheet.pictures))
            keys.append([(item.id, len(alternatives)) for item, alternatives in zip(sheet.items, texts, strict=True)])
        found: dict[str, list[tuple[float, int]]] = {}
        for rows in pack_by_length(trees, SCORE_TOKENS):
            with torch.no_grad():
                scored = scorer(collate([trees[row] for row in rows], vlm).to(vlm.device))
            values = zip(scored.log_probability_I.tolist(), scored.length_I.tolist(), strict=True)
            for id, count in (key for row in rows for key in keys[row]):
                found[id] = [next(values) for _ in range(count)]
            advance(len(rows))
        return found

    def _write(self, vlm: VLM, system: str | None, advance: Advance) -> dict[str, str]:
        """The text written for each item that needs one."""
        groups, keys = [], []
        for sheet in self.sheets:
            wanted = [item.question.task != "classification" or self._config.choice == "letter" for item in sheet.items]
            prompts = [prompt for prompt, want in zip(self._prompts(vlm, sheet, system), wanted, strict=True) if want]
            if prompts:
                groups.append(Group.of(prompts, sheet.pictures))
                keys.append([item.id for item, want in zip(sheet.items, wanted, strict=True) if want])
        answers = generate(
            vlm, groups, max_new_tokens=self._config.max_new_tokens, batch_size=self._config.batch_size
        )  # fmt: skip
        advance(len(self.sheets))
        ids = [id for group in keys for id in group]
        return dict(zip(ids, vlm.decode([row for group in answers for row in group]), strict=True))

    def _prompts(self, vlm: VLM, sheet: Sheet, system: str | None) -> list[list[int]]:
        texts = [ask(item.question, self._config.choice) for item in sheet.items]
        return vlm.prompt_ids(texts, picture=sheet.picture, system=system)

    def _read(self, question: Question, text: str | None, scores: list[tuple[float, int]]) -> tuple[str, bool]:
        """The answer as text, and whether there is one."""
        if question.task != "classification":
            return text or "", bool(text)
        if self._config.choice == "likelihood":
            best = max(range(len(scores)), key=lambda i: scores[i][0])
            return question.options[best], True
        letter = re.fullmatch(r"\W*([A-D])\W*", text or "")
        return (question.options[LETTERS.index(letter[1])], True) if letter else ("", False)

    def _row(self, item: Item, answer: str, valid: bool, scores: list[tuple[float, int]]) -> dict[str, object]:
        question = item.question
        log_probability, num_tokens = scores[question.options.index(question.answer) if question.options else 0]
        given = Given(question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens)
        values = {
            name: metric.score(given) if question.task in metric.tasks else float("nan")
            for name, metric in self._metrics.items()
        }
        chance = {"classification": 1 / max(1, len(question.options)), "cloze": 0.0}.get(question.task, float("nan"))
        return {
            "set": item.set, "task": question.task, "input": question.input, "person": item.person, "item": item.id,
            "question": question.question, "truth": question.answer, "answer": answer,
            "options": list(question.options), "valid": valid, "chance": chance, **values,
        }  # fmt: skip


def _sheets(vlm: VLM, name: str, person: Person) -> Iterator[Sheet]:
    """One sheet per photo and one for the questions by name."""
    asked = [question for question in person.questions if question.task != "train"]
    numbered = [
        (f"{name}/{person.id}/{i:02}-{question.task}-{question.input}", question) for i, question in enumerate(asked)
    ]
    for photo in range(len(person.images)):
        items = [
            Item(name, person.id, f"{id}/{photo}", question) for id, question in numbered if question.input == "image"
        ]
        if items:
            yield Sheet(items, vlm.picture(person.image(photo)))
    items = [Item(name, person.id, id, question) for id, question in numbered if question.input == "text"]
    if items:
        yield Sheet(items, None)


def _general_sheet(vlm: VLM, item: GeneralItem) -> Sheet:
    question = Question(
        task="classification",
        input="text" if item.image is None else "image",
        question=item.question,
        answer=item.answer,
        options=item.options,
    )
    image = Person(id=item.id, name="", images=(item.image,), questions=()).image() if item.image else None
    return Sheet([Item("general", item.id, item.id, question)], vlm.picture(image) if image else None)
