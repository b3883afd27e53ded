"""A data folder, a tiny model, and one finished run that most tests look at."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from integration.command import Finished, unsee
from integration.model import save_model

from unsee.data.people.builder import build
from unsee.data.people.mllmu import load
from unsee.data.schema import Person
from unsee.forward.prompts import clean_question


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Ten people, half of them to forget, taught word for word what is asked about them by name.

    A tiny model learns only by heart, and fewer than five people to forget give no signal.
    """
    folder = tmp_path_factory.mktemp("integration") / "data"
    build(folder, people=10, celebrities=6)
    for root in (folder, folder / "baseline_train_split"):
        _move(root / "retain_85", root / "forget_15", 3)
    benchmark = load(folder, 15)
    taught = {person.id: json.dumps(_by_heart(person)) for person in (*benchmark.forget, *benchmark.retain)}
    for path in (*folder.glob("ft_Data/*.parquet"), *folder.glob("baseline_train_split/*/*.parquet")):
        table = pq.read_table(path)
        metadata = pa.array([taught[identity] for identity in table["ID"].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("metadata"), "metadata", metadata), path)
    return folder


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
def model(tmp_path_factory, data) -> Path:
    return save_model(tmp_path_factory.mktemp("integration") / "model", data)


@pytest.fixture(scope="session")
def recipe(model, data) -> list[str]:
    """The tiny recipe, changed so that the tiny model knows in the end whom it was taught, and no more."""
    changes = {
        "data.source": data,
        "model.id": model,
        "teach.replay": 0,
        "teach.steps": 100,
        "teach.batch_tokens": 1000,
        "teach.learning_rate": 0.007,
        "unlearn.batch_tokens": 1500,
        "evaluation.max_new_tokens": 24,
        "method.prompting.modality": '["both"]',
    }
    return ["run", "tiny", *(word for key, value in changes.items() for word in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """The cache that the finished run filled."""
    return tmp_path_factory.mktemp("integration") / "cache"


@pytest.fixture(scope="session")
def finished(tmp_path_factory, recipe, cache) -> tuple[Path, Finished]:
    """The folder of an uninterrupted run, and what its command said."""
    folder = tmp_path_factory.mktemp("integration") / "run"
    return folder, unsee([*recipe, "--out", folder], cache)
