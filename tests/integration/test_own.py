"""A benchmark of a user's own people, from the table to the report."""

from __future__ import annotations

import csv

import pytest
from integration.command import unsee

from unsee.core.record import Record
from unsee.data.people.mllmu import load


@pytest.fixture(scope="module")
def table(data, tmp_path_factory):
    """The people of the test data, each four times under another name, as a user would write them down."""
    folder = tmp_path_factory.mktemp("own")
    benchmark = load(data, 15)
    with (folder / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "portraits", "occupation", "residence", "shoe size"])
        people = (*benchmark.forget, *benchmark.retain)
        for number, person in enumerate(people * 4):
            id, name = f"{person.id}-{number}", f"{person.name} {'I' * (1 + number // len(people))}"
            (folder / f"{id}.png").write_bytes(person.images[0])
            facts = [person.biography["Employment"], person.biography["Residence"], f"{36 + number % 8}"]
            writer.writerow([id, name, f"{id}.png", *facts])
    return folder / "people.csv"


def test_a_table_becomes_a_benchmark_and_a_report(table, model, tmp_path):
    built = unsee(["build", tmp_path / "data", "--people", table, "--portraits", table.parent], tmp_path / "cache")
    assert (built.code, built.err) == (0, "")
    assert built.out.splitlines()[:3] == [
        "40 people; to forget: 2 at 5 %, 4 at 10 %, 6 at 15 %; celebrities: 0",
        "Too few people to rank methods at 5 %: 2 would be forgotten, 5 are needed (91 people).",
        "Too few people to rank methods at 10 %: 4 would be forgotten, 5 are needed (46 people).",
    ]
    assert built.out.splitlines()[-1] == str(tmp_path / "data")
    changes = {
        "data.source": tmp_path / "data", "model.id": model, "require_signal": "true", "teach.steps": 1,
        "teach.batch_tokens": 500, "data.retain_evaluated": 2, "evaluation.max_new_tokens": 1,
    }  # fmt: skip
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    command = unsee(["run", "tiny", *words, "--out", tmp_path / "run"], tmp_path / "cache")
    assert command.code in (0, 3), command.err
    sets = {cell["set"] for cell in Record.open(tmp_path / "run").read_json("scores.json")["cells"]}
    assert sets == {"forget", "test", "retain", "general"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--people", "none.csv"], "--people none.csv: neither a number of people nor a CSV file that exists"),
        (["--people", __file__], "needs --portraits, the folder of the photos it names"),
        (["--portraits", "."], "--portraits and a CSV file of celebrities go with a CSV file of --people"),
        (["--people", "none.csv", "--portraits", "."], "none.csv: neither a number of people nor"),
        (["--people", "501"], "people: 501 asked for"),
        (["--people", "0"], "people: 0 is too few; at least 2 are needed"),
        (["--people", "1"], "people: 1 is too few; at least 2 are needed"),
    ],
)
def test_unusable_tables_are_one_sentence(words, sentence, tmp_path):
    command = unsee(["build", tmp_path / "data", *words], tmp_path / "cache")
    assert (command.code, command.out, command.err.count("\n")) == (2, "", 1)
    assert sentence in command.err
    assert not (tmp_path / "data").exists()
