"""A few people of a run with their questions and the answers of every model, as examples for the report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unsee.report.examples import Asked, Example, merged
from unsee.report.page import embedded
from unsee.scoring.table import rounded

NUM_FORGET, NUM_RETAIN = 3, 1
_ASKED = (("generation", "image"), ("generation", "text"), ("classification", "image"), ("cloze", "text"))


def shown_people(answers: pd.DataFrame, portraits: Path) -> list[Example]:
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


def _shown(answers: pd.DataFrame, person: str, set_name: str, portraits: Path) -> Example:
    mine = answers[answers["unit"] == person]
    asked = [(set_name, *kind) for kind in _ASKED] + ([("test", *_ASKED[0])] if set_name == "forget" else [])
    questions = []
    for name, task, given in asked:
        rows = mine[(mine["set"] == name) & (mine["task"] == task) & (mine["input"] == given)]
        if len(rows):
            questions.append(_asked(rows[rows["item"] == min(rows["item"])]))
    path = portraits / f"{person}.png"
    return Example(
        name=f"Person {person}",
        image=embedded(path) if path.is_file() else None,
        alternative=f"Portrait of person {person}",
        tag="to be forgotten" if set_name == "forget" else "to be kept",
        look="forget" if set_name == "forget" else "ok",
        questions=questions,
    )


def _asked(rows: pd.DataFrame) -> Asked:
    """Return one question with the answers of all models; those closest to the truth come first."""
    first = rows.iloc[0]
    kind = f"{first['task']} · {first['input']}"
    if first["set"] == "test":
        kind += " · other photo, other words" if first["input"] == "image" else " · other words"
    is_sentence = first["task"] == "generation"
    return Asked(
        kind=kind,
        question=first["question"],
        truth=first["truth"],
        answers=merged(rows, _note, lambda row: row["rouge_l"] if is_sentence else float(row["accuracy"] == 1)),
        options=list(first["options"]),
    )


def _note(row: pd.Series) -> str:
    if row["task"] == "generation":
        return f"ROUGE-L {rounded(row['rouge_l'])}"
    return "right" if row["accuracy"] == 1 else "wrong"
