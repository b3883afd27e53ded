"""The ledger of deletion requests: what it holds, how a change is found, and who may not be kept again."""

import json
import shutil

import pytest
import tiny
import torch
from safetensors.torch import save_file

from unsee.core.errors import DataError, RecordError
from unsee.core.files import sha256_of
from unsee.core.record import Record
from unsee.data.deletion import read_request
from unsee.runs.requests import (
    LEDGER,
    check_kept,
    earlier_requests,
    ledger_rows,
    ledger_sentences,
    read_ledger,
    start_of,
    write_ledger,
)
from unsee.scoring.deletion import with_earlier
from unsee.scoring.outcome import EarlierOutcome, KeptOutcome, Outcome, PersonOutcome, RequestFiling

PEOPLE = (
    "Ada Novak", "Bela Okafor", "Cleo Berg", "Dan Ek", "Eve Roth", "Fay Holm", "Gus Dahl", "Ida Bern", "Jon Falk",
    "Kim Lund",
)  # fmt: skip


def write_rows(path, *names):
    (path.parent / "photo.png").write_bytes(tiny.png())
    rows = [{"image": "photo.png", "question": "Job?", "answer": "A baker.", "person": name} for name in names]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_request(folder, number, after=None):
    """A finished request about one of the people, which keeps somebody else."""
    folder.mkdir(parents=True)
    forget, retain = folder.parent / f"forget-{number}.jsonl", folder.parent / "retain.jsonl"
    write_rows(forget, PEOPLE[number])
    write_rows(retain, "Dora Lind")
    record = Record.create(folder, f'forget = "{forget}"\nretain = "{retain}"\n')
    (folder / "model").mkdir()
    save_file({"weight": torch.full((2,), float(number))}, folder / "model" / "model.safetensors")
    weights = folder / "model" / "model.safetensors"
    filing = RequestFiling(
        reference=f"2026-{number}", finished=f"2026-11-0{number + 1}T09:00:00+00:00", version="0", method="ignorance",
        model="nano", rows=dict(read_request(forget, retain).files), model_before="0" * 64,
        model_after={weights.name: sha256_of(weights)}, steps=10, most_steps=200, outside=0,
    )  # fmt: skip
    outcome = Outcome(
        verdict="done", broke=[], rows=[], figures=[], collapsed=None, filing=filing,
        people=[
            PersonOutcome(person=1, lines="1", broken={}, any_broken=0, ways=4, before=4, after=0, partly=0, guessed=0)
        ],
        kept=KeptOutcome(people=1, questions=1, before=1.0, after=1.0, any_broken=0),
    )  # fmt: skip
    outcome.save(record, "request.json")
    write_ledger(record, outcome, after)
    return folder


@pytest.fixture
def requests(tmp_path):
    """Three requests, each on the model of the one before."""
    folders = [make_request(tmp_path / "0", 0)]
    for number in (1, 2):
        folders.append(make_request(tmp_path / str(number), number, folders[-1]))
    return folders


def test_a_ledger_holds_every_request_and_can_be_followed(requests):
    entries = read_ledger(requests[2]).entries
    assert [entry.filing.reference for entry in entries] == ["2026-0", "2026-1", "2026-2"]
    assert [entry.folder for entry in entries] == ["../0", "../1", "."]
    assert [entry.previous for entry in entries] == ["", entries[0].digest, entries[1].digest]
    assert [row.state for row in ledger_rows(requests[2])] == ["unchanged"] * 3
    assert start_of(requests[2]) == str(requests[2] / "model")
    first, undo = ledger_sentences(requests[2])
    assert entries[2].digest in first and str(requests[2] / "../1" / "model") in undo


def test_ten_requests_in_a_row_are_verified_and_a_change_of_any_is_found(tmp_path):
    folders: list = []
    for number in range(10):
        folders.append(make_request(tmp_path / str(number), number, folders[-1] if folders else None))
    assert [row.request for row in ledger_rows(folders[9])] == [f"2026-{number}" for number in range(10)]
    assert {row.state for row in ledger_rows(folders[9])} == {"unchanged"}
    assert len(earlier_requests(folders[9])) == 10 and "10 requests" in ledger_sentences(folders[9])[0]
    whole = json.loads((folders[9] / LEDGER).read_text())
    for number in range(10):
        changed = json.loads(json.dumps(whole))
        changed["entries"][number]["filing"]["steps"] += 1
        (folders[9] / LEDGER).write_text(json.dumps(changed))
        with pytest.raises(RecordError):
            read_ledger(folders[9])


def test_a_run_is_no_request(tmp_path):
    (tmp_path / "answers.parquet").write_bytes(b"")
    with pytest.raises(RecordError, match="a run, not a deletion request; `unsee unlearn` makes one"):
        read_ledger(tmp_path)


def test_a_ledger_can_be_moved_with_its_requests(requests, tmp_path):
    shutil.copytree(tmp_path, tmp_path.parent / "moved")
    moved = tmp_path.parent / "moved" / "2"
    assert read_ledger(moved) == read_ledger(requests[2])
    assert [row.state for row in ledger_rows(moved)] == ["unchanged"] * 3
    shutil.rmtree(tmp_path.parent / "moved")


def test_a_request_of_an_earlier_version_begins_a_ledger(requests):
    (requests[0] / LEDGER).unlink()
    (entry,) = read_ledger(requests[0]).entries
    assert (entry.filing.reference, entry.previous) == ("2026-0", "")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(("key", "value"), [("method", "npo"), ("finished", "2020-01-01"), ("reference", "other")])
def test_a_changed_entry_is_found(requests, number, key, value):
    path = requests[2] / LEDGER
    content = json.loads(path.read_text())
    content["entries"][number]["filing"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=r"was changed|one of the two files was changed"):
        read_ledger(requests[2])


def test_a_left_out_entry_is_found(requests):
    path = requests[2] / LEDGER
    content = json.loads(path.read_text())
    for number in range(3):
        path.write_text(
            json.dumps(content | {"entries": content["entries"][:number] + content["entries"][number + 1 :]})
        )
        with pytest.raises(RecordError):
            read_ledger(requests[2])
    path.write_text(json.dumps(content | {"entries": []}))
    with pytest.raises(RecordError, match="holds no request"):
        read_ledger(requests[2])


def test_a_model_that_was_changed_or_is_gone_is_no_start(requests):
    save_file({"weight": torch.full((2,), 7.0)}, requests[1] / "model" / "model.safetensors")
    assert [row.state for row in ledger_rows(requests[2])] == ["unchanged", "changed", "unchanged"]
    with pytest.raises(RecordError, match="its weights are not those that the request left"):
        start_of(requests[1])
    shutil.rmtree(requests[1] / "model")
    assert [row.state for row in ledger_rows(requests[2])] == ["unchanged", "not at hand", "unchanged"]
    with pytest.raises(RecordError, match="missing; the next request needs the model"):
        start_of(requests[1])
    assert "not at hand" in ledger_sentences(requests[2])[1]


def test_rows_that_are_gone_or_changed_are_not_asked_again(requests, tmp_path):
    assert all(one.request for one in earlier_requests(requests[2]))
    write_rows(tmp_path / "forget-1.jsonl", "Somebody Else")
    (tmp_path / "forget-0.jsonl").unlink()
    assert [bool(one.request) for one in earlier_requests(requests[2])] == [False, False, True]


def test_nobody_is_kept_who_was_to_be_forgotten(requests, tmp_path):
    write_rows(tmp_path / "forget-new.jsonl", "Emil Roth")
    write_rows(tmp_path / "retain-new.jsonl", "Dora Lind", "bela  okafor")
    request = read_request(tmp_path / "forget-new.jsonl", tmp_path / "retain-new.jsonl")
    with pytest.raises(DataError, match=r"retain-new.jsonl, line 2: this person was to be forgotten .* \(2026-1\)"):
        check_kept(earlier_requests(requests[2]), request, "retain-new.jsonl")


@pytest.mark.parametrize(("after", "verdict"), [(0, "done"), (1, "done"), (2, "leaks")])
def test_a_value_that_comes_back_is_a_leak(requests, after, verdict):
    outcome = Outcome.load(requests[0], "request.json")
    earlier = [EarlierOutcome(reference="2026-0", at_hand=True, ways=8, before=1, after=after)]
    assert with_earlier(outcome, earlier).verdict == verdict
