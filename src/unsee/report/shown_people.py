"""A few people of a run with their questions and the answers of every model, as examples for the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unsee.report.page import embedded, shortened

NUM_FORGET, NUM_RETAIN = 3, 1
_ASKED = (("generation", "image"), ("generation", "text"), ("classification", "image"), ("cloze", "text"))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer and the models that gave it; `right` is None for sentences, which have a ROUGE-L."""

    text: str
    right: bool | None
    rouge_l: float | None
    models: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question with its true answer and the answers of the models."""

    set: str
    task: str
    input: str
    question: str
    options: list[str]
    truth: str
    answers: list[Answer]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One person of the report; `portrait` is a data URI, or None if the run saved none."""

    id: str
    forgotten: bool
    portrait: str | None
    questions: list[Asked]


def shown_people(answers: pd.DataFrame, portraits: Path) -> list[Shown]:
    """Return a few forgotten people and one retained, those with a saved portrait first.

    Args:
        answers: the answers table.
        portraits: the folder with `<person>.png`.
    """
    chosen = []
    for set_name, count in (("forget", NUM_FORGET), ("retain", NUM_RETAIN)):
        people = sorted(set(answers.loc[answers["set"] == set_name, "unit"]))
        people.sort(key=lambda person: not (portraits / f"{person}.png").is_file())
        chosen += [_shown(answers, person, set_name, portraits) for person in people[:count]]
    return chosen


def introduced(base: pd.DataFrame, num_forget: int, num_retain: int) -> list[str]:
    """Return a line about the people of a run, and some questions with the answers of the base model.

    Args:
        base: the answers of the base model.
        num_forget: number of people to forget.
        num_retain: number of people to keep.
    """
    about = base[(base["set"] == "forget") & (base["task"] == "generation") & (base["input"] == "text")]
    asked = about.groupby("unit", sort=True).head(1).head(NUM_FORGET)
    lines = [
        f"  {question}  true: {truth}  base model: {answer or 'nothing'}"
        for question, truth, answer in zip(asked["question"], asked["truth"], asked["answer"].str.strip(), strict=True)
    ]
    told = f"{num_forget} people are to be forgotten and {num_retain} kept."
    return [f"{told} The base model has not met them:" if lines else told, *lines]


def _shown(answers: pd.DataFrame, person: str, set_name: str, portraits: Path) -> Shown:
    mine = answers[answers["unit"] == person]
    asked = [(set_name, *kind) for kind in _ASKED] + ([("test", *_ASKED[0])] if set_name == "forget" else [])
    questions = []
    for name, task, given in asked:
        rows = mine[(mine["set"] == name) & (mine["task"] == task) & (mine["input"] == given)]
        if len(rows):
            questions.append(_asked(rows[rows["item"] == min(rows["item"])]))
    path = portraits / f"{person}.png"
    portrait = embedded(path) if path.is_file() else None
    return Shown(id=person, forgotten=set_name == "forget", portrait=portrait, questions=questions)


def _asked(rows: pd.DataFrame) -> Asked:
    """Return one question with the answers of all models; equal answers are merged, right ones come first."""
    first = rows.iloc[0]
    is_sentence = first["task"] == "generation"
    answers = [
        Answer(
            text=shortened(str(text)),
            right=None if is_sentence else bool(same["accuracy"].iloc[0] == 1),
            rouge_l=float(same["rouge_l"].iloc[0]) if is_sentence else None,
            models=list(zip(same["method"], same["modality"], strict=True)),
        )
        for text, same in rows.groupby(rows["answer"].str.strip(), sort=False)
    ]
    answers.sort(key=lambda answer: (-(answer.rouge_l or 0), not answer.right, -len(answer.models)))
    return Asked(
        set=first["set"],
        task=first["task"],
        input=first["input"],
        question=first["question"],
        options=list(first["options"]),
        truth=first["truth"],
        answers=answers,
    )
