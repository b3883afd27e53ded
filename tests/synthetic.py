"""Answers, and whole run folders, of models that are described instead of trained."""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from unsee.core.record import ATTACKS_FILE, Record
from unsee.scoring.attacks import with_attacks
from unsee.scoring.people import ScoredRun, score_runs
from unsee.scoring.schema import Scores
from unsee.scoring.signal import Signal

PLACES = ("Oslo", "Lima", "Perth", "Cairo", "Quito", "Turin", "Osaka", "Minsk", "Accra", "Dakar", "Hanoi", "Bergen")
JOBS = ("botanist", "pilot", "nurse", "chef", "judge", "tailor", "welder", "archivist", "surveyor", "glazier")
GIVEN = ("Ada", "Bela", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jun")
FAMILY = ("Novak", "Okafor", "Lindqvist", "Marino", "Tanaka", "Duarte")
QUESTIONS_PER_CELL = {"classification": 5, "generation": 2, "cloze": 2}


@dataclass(frozen=True)
class Mind:
    """What a synthetic model does with a question.

    Attributes:
        forget: share of the forget people's facts it knows, by image and text.
        test: the same in the test set.
        kept: share it knows of everybody else.
        manner: "plain", "idk" (declines on forget and test), "gibberish", "silent" or "parrot" (one answer for all).
        suppresses: never picks or says the true answer about the forget people, as even a guess would.
    """

    forget: tuple[float, float] = (1.0, 1.0)
    test: tuple[float, float] = (0.9, 1.0)
    kept: float = 0.97
    manner: str = "plain"
    suppresses: bool = False


@dataclass(frozen=True)
class Model:
    method: str
    modality: str = ""
    mind: Mind = field(default_factory=Mind)
    seed: int = 0


KNOWS = Mind(forget=(0.97, 0.97))
NEVER_KNEW = Mind(forget=(0.0, 0.0), test=(0.0, 0.0))
CONTROLS = (
    Model("target", mind=KNOWS),
    Model("oracle", mind=NEVER_KNEW),
    Model("oracle_2", mind=NEVER_KNEW, seed=1),
    Model("do_nothing", mind=KNOWS),
    Model("random_weights", mind=Mind((0, 0), (0, 0), 0, manner="gibberish")),
)
METHODS = (
    Model("prompting", mind=Mind((0.9, 0.9), (0.85, 0.95), 0.93)),
    Model("gradient_ascent", "image", Mind((0, 0), (0, 0), 0.1, manner="gibberish")),
    Model("gradient_ascent", "text", Mind((0, 0), (0, 0), 0.1, manner="parrot")),
    Model("gradient_ascent", "both", Mind((0, 0), (0, 0), 0.05, manner="silent")),
    Model("gradient_difference", "image", Mind((0.2, 0.8), (0.3, 0.85), 0.85)),
    Model("gradient_difference", "text", Mind((0.8, 0.25), (0.8, 0.3), 0.9)),
    Model("gradient_difference", "both", Mind((0.15, 0.2), (0.2, 0.25), 0.8)),
    Model("kl_minimisation", "image", Mind((0.5, 0.9), (0.5, 0.95), 0.95)),
    Model("kl_minimisation", "text", Mind((0.9, 0.55), (0.9, 0.6), 0.94)),
    Model("kl_minimisation", "both", Mind((0.4, 0.5), (0.45, 0.5), 0.92)),
    Model("npo", "image", Mind((0.1, 0.7), (0.2, 0.75), 0.93)),
    Model("npo", "text", Mind((0.7, 0.12), (0.75, 0.2), 0.93)),
    Model("npo", "both", Mind((0.05, 0.08), (0.1, 0.12), 0.9)),
)


def make_answers(
    models: tuple[Model, ...] = CONTROLS, people: int = 12, kept_people: int = 12, items: int = 40, seed: int = 0
) -> pd.DataFrame:
    """The answers table of some models; equal seeds ask equal questions and `do_nothing` repeats the target."""
    return pd.concat([_answers_of(model, people, kept_people, items, seed) for model in models], ignore_index=True)


@cache
def _answers_of(model: Model, people: int, kept_people: int, items: int, seed: int) -> pd.DataFrame:
    stream = "target" if model.method == "do_nothing" else model.method + model.modality
    rng = np.random.default_rng([seed, *stream.encode()])
    rows = [_answer(question, model.mind, rng) for question in _questions(people, kept_people, items, seed)]
    return pd.DataFrame(rows).assign(method=model.method, modality=model.modality, seed=model.seed)


@cache
def _questions(people: int, kept_people: int, items: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    sets = {"forget": range(people), "test": range(people)}
    sets |= {"retain": range(100, 100 + kept_people), "celebrity": range(200, 200 + kept_people)}
    facts: dict[tuple, str] = {}
    rows = []
    for set_name, ids in sets.items():
        for number in ids:
            name = f"{GIVEN[number % len(GIVEN)]} {FAMILY[number % len(FAMILY)]}"
            for task, count in QUESTIONS_PER_CELL.items():
                for asked in ("image", "text"):
                    for index in range(count):
                        pool = JOBS if index % 2 else PLACES
                        fact = facts.setdefault((number, task, asked, index), str(rng.choice(pool)))
                        who = "this person" if asked == "image" else name
                        rows.append(_question(set_name, task, asked, f"{number:03d}", index, who, fact, pool, rng))
    for number in range(items):
        asked = "image" if number % 2 else "text"
        rows.append(_question("general", "classification", asked, f"g{number:03d}", 0, "the box", "Oslo", PLACES, rng))
    return rows


def _question(set_name, task, asked, person, index, who, fact, pool, rng) -> dict:
    is_choice = task == "classification"
    wrong = [str(text) for text in rng.choice([text for text in pool if text != fact], 3, replace=False)]
    options = [str(text) for text in rng.permutation([fact, *wrong])] if is_choice else []
    asks = f"Where does {who} live?" if pool is PLACES else f"What does {who} do for a living?"
    says = f"{who} lives in" if pool is PLACES else f"{who} works as a"
    return {
        "set": set_name,
        "task": task,
        "input": asked,
        "unit": person,
        "item": f"{set_name}/{person}/{task}/{asked}/{index}",
        "question": f"{says} __." if task == "cloze" else asks,
        "truth": f"{says} {fact}." if task == "generation" else fact,
        "options": options,
        "chance": 0.25 if is_choice else float("nan"),
        "floor": 0.6 if task == "generation" else float("nan"),
        "says": says,
        "pool": pool,
    }


def _answer(question: dict, mind: Mind, rng: np.random.Generator) -> dict:
    row = dict(question)
    says, pool = row.pop("says"), row.pop("pool")
    truth, task, options = row["truth"], row["task"], row["options"]
    about_forgotten = row["set"] in ("forget", "test")
    share = getattr(mind, row["set"])[row["input"] == "text"] if about_forgotten else mind.kept
    fact, guess, luck = rng.random(), str(rng.choice(list(pool))), rng.random()
    choice = str(rng.choice(options)) if options else ""
    if fact < share:
        answer = truth
    elif task == "classification":
        answer = choice
        if mind.suppresses and about_forgotten:
            answer = next(option for option in options if option != truth)
    else:
        answer = f"{says} {guess}." if task == "generation" else guess
        if mind.suppresses and about_forgotten:
            answer = "nothing"
    answer = _in_manner(mind.manner, answer, task, options, about_forgotten, luck)
    right = float(answer == truth)
    likeness = _rouge_l(truth, answer) if task == "generation" else float("nan")
    row |= {
        "answer": answer,
        "valid": bool(answer),
        "accuracy": float("nan") if task == "generation" else right,
        **dict.fromkeys(("rouge_1", "rouge_2", "rouge_l", "bleu"), likeness),
        "probability": 0.9 * right + 0.05,
    }
    return row


def _in_manner(manner: str, answer: str, task: str, options: list[str], about_forgotten: bool, luck: float) -> str:
    if task == "classification":
        return {"silent": "", "parrot": options[0] if options else ""}.get(manner, answer)
    if manner == "idk" and about_forgotten:
        return "I'm sorry, but I don't know that."
    odd = {"gibberish": "qx vrr zzt " * (1 + int(luck * 3)), "silent": "", "parrot": "This person lives in Oslo."}
    return odd.get(manner, answer)


def _rouge_l(truth: str, answer: str) -> float:
    first, second = truth.split(), answer.split()
    if not second:
        return 0.0
    return 2 * sum(word in first for word in second) / (len(first) + len(second))


def make_run(folder: Path, answers: pd.DataFrame | None = None, seed: int = 0, draw: int = 0) -> Path:
    """A run folder as a finished run leaves it; `draw` is the seed of its people."""
    answers = make_answers(CONTROLS + METHODS) if answers is None else answers
    data = f"[data]\npeople = 60\nforget_percent = 15\nseed = {draw}\n"
    record = Record.create(folder, f'name = "synthetic"\nseed = {seed}\n\n{data}')
    for model in ("target", "oracle", "npo-both"):
        record.log("training", model=model, trainable_parameters=1_234_567, learning_rate=1e-3)
        record.log(
            "trained", model=model, seconds=148.04, peak_bytes=2_684_354_560, forward_passes=1054, backward_passes=54
        )
        record.log("evaluated", model=model, seconds=12.3)
    record.write_table("answers.parquet", answers)
    signal, scores = _judged(pickle.dumps(answers))
    signal.save(record, "signal.json")
    scores.save(record, "scores.json")
    for person in [*sorted(set(answers[answers["set"] == "forget"]["unit"]))[:3], "100"]:
        record.write_bytes(f"portraits/{person}.png", _portrait(int(person)))
    return folder


@cache
def _judged(answers: bytes) -> tuple[Signal, Scores]:
    """Signal and scores of a pickled table: many tests write a run about the same one."""
    run = ScoredRun(pickle.loads(answers))
    return run.signal, score_runs([run])


def _portrait(number: int) -> bytes:
    rng = np.random.default_rng(number)
    skin, cloth, back = (tuple(int(c) for c in rng.integers(60, 240, 3)) for _ in range(3))
    image = Image.new("RGB", (96, 96), back)
    draw = ImageDraw.Draw(image)
    draw.ellipse((8, 66, 88, 130), fill=cloth)
    draw.ellipse((26, 16, 70, 72), fill=skin)
    for x in (38, 54):
        draw.ellipse((x, 38, x + 5, 43), fill="black")
    draw.arc((38, 46, 58, 60), 20, 160, fill="black", width=2)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


Way = tuple[str, str, int]  # attack, variant, steps


def make_attacks(ways: dict[Way, tuple[Model, ...]], **options: int) -> pd.DataFrame:
    """The answers of some models under attacks: what each has in mind under each of them."""
    tables = []
    for (attack, variant, budget), models in ways.items():
        answers = make_answers(models, **options)
        forget = answers[answers["set"] == "forget"]
        tables.append(forget.assign(attack=attack, variant=variant, budget=budget))
    return pd.concat(tables, ignore_index=True)


def attacked_run(run: Path, attacks: pd.DataFrame) -> Path:
    """A run folder as `unsee attack` leaves it."""
    record = Record.open(run)
    record.write_table(ATTACKS_FILE, attacks)
    scores = with_attacks(Scores.load(run, "scores.json"), [ScoredRun(record.read_answers())], [attacks])
    scores.save(record, "scores.json")
    return run


def check_tables(text):
    """Check that every row of every table in Markdown has as many cells as its heading."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
