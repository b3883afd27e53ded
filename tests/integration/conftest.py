"""A data folder, a tiny model, and one finished run that most tests look at.

Processes that test side by side make each of them once between them, and only read it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from integration.command import Finished, unsee
from integration.model import save_model

from unsee.data.people.builder import build
from unsee.data.people.mllmu import load
from unsee.data.schema import Person
from unsee.forward.prompts import clean_question


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Gives a folder that the first process that asks for it fills."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        filled = place / f"{name}.filled"
        with FileLock(place / f"{name}.lock"):
            if not filled.exists():
                fill(place / name)
                filled.touch()
        return place / name

    return folder


@pytest.fixture(scope="session")
def data(once) -> Path:
    """Ten people, half of them to forget, taught word for word what is asked about them by name.

    A tiny model learns only by heart, and fewer than five people to forget give no signal.
    """
    return once("data", _build)


def _build(folder: Path) -> None:
    build(folder, people=10, celebrities=6)
    for root in (folder, folder / "baseline_train_split"):
        _move(root / "retain_85", root / "forget_15", 3)
    benchmark = load(folder, 15)
    taught = {person.id: json.dumps(_by_heart(person)) for person in (*benchmark.forget, *benchmark.retain)}
    for path in (*folder.glob("ft_Data/*.parquet"), *folder.glob("baseline_train_split/*/*.parquet")):
        table = pq.read_table(path)
        metadata = pa.array([taught[identity] for identity in table["ID"].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("metadata"), "metadata", metadata), path)


def _move(source: Path, target: Path, count: int) -> None:
    """The first rows of one set into another."""
    (taken,), (given,) = source.glob("*.parquet"), target.glob("*.parquet")
    rows = pq.read_table(taken)
    pq.write_table(pa.concat_tables([pq.read_table(given), rows.slice(0, count)]), given)
    pq.write_table(rows.slice(count), taken)


def _by_heart(person: Person) -> list[dict[str, str]]:
    asked = [question for question in person.questions if (question.input, question.task == "train") == ("text", False)]
    pairs = [{"Question": clean_question(question), "Answer": question.answer} for question in asked]
    return [{key: text.replace(person.name, "this person") for key, text in pair.items()} for pair in pairs]


@pytest.fixture(scope="session")
def model(once, data) -> Path:
    return once("model", lambda folder: save_model(folder, data))


@pytest.fixture(scope="session")
def recipe(model, data) -> list[str]:
    """The tiny recipe, changed so that the tiny model knows in the end whom it was taught, and no more."""
    return _words(
        {
            "data.source": data,
            "model.id": model,
            "teach.replay": 0,
            "teach.steps": 80,
            "teach.batch_tokens": 800,
            "teach.learning_rate": 0.01,
            "teach.turns": 5,
            "unlearn.batch_tokens": 800,
            "evaluation.max_new_tokens": 24,
            "method.gradient_difference.steps": 20,
            "method.prompting.modality": '["both"]',
        }
    )


@pytest.fixture(scope="session")
def brief(model, data) -> list[str]:
    """The same with small batches and few answers, for runs that have to end like another one, whatever they learn."""
    return _words(
        {
            "data.source": data,
            "data.retain_evaluated": 2,
            "data.celebrities_evaluated": 2,
            "model.id": model,
            "teach.replay": 0,
            "teach.steps": 60,
            "teach.batch_tokens": 200,
            "teach.learning_rate": 0.01,
            "teach.turns": 5,
            "unlearn.batch_tokens": 200,
            "evaluation.general_items": 2,
            "method.gradient_difference.steps": 20,
        }
    )


def _words(changes: dict[str, object]) -> list[str]:
    return ["run", "tiny", *(word for key, value in changes.items() for word in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="session")
def finished(once, recipe) -> tuple[Path, Finished]:
    """The folder of an uninterrupted run, and what its command said."""
    return _finished(once("finished", lambda folder: _run(recipe, folder)))


@pytest.fixture(scope="session")
def brief_finished(once, brief) -> tuple[Path, Finished]:
    return _finished(once("brief", lambda folder: _run(brief, folder)))


def _run(words: list[str], folder: Path) -> None:
    folder.mkdir()
    command = unsee([*words, "--out", folder / "run"], folder / "cache")
    (folder / "command.json").write_text(json.dumps(asdict(command)))


def _finished(folder: Path) -> tuple[Path, Finished]:
    return folder / "run", Finished(**json.loads((folder / "command.json").read_text()))


@pytest.fixture(scope="session")
def cache(finished, tmp_path_factory) -> Path:
    """A cache like the one that the finished run filled."""
    folder, _ = finished
    return shutil.copytree(folder.parent / "cache", tmp_path_factory.mktemp("integration") / "cache")
