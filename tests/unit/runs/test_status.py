"""Where a run is, read from its log while it runs, after it was killed and when it is finished."""

import gc
import re

import pytest

from unsee.core.errors import RecordError
from unsee.core.record import Record
from unsee.runs.status import spoken_time, status

CONFIG = 'name = "quick"\n[method]\nnpo = {}\n"gate-5" = { use = "neural_gate" }\n'


@pytest.fixture
def record(tmp_path):
    record = Record.create(tmp_path / "run", CONFIG)
    record.log("plan", stages=5)
    record.log("stage", number=1, stage="evaluate", model="random_weights")
    record.log("cached answers", number=1, model="random_weights")
    record.log("done", number=1, seconds=0.01)
    record.log("stage", number=2, stage="teach", model="oracle_2")
    record.log("training", number=2, model="oracle_2", steps=400)
    record.log("done", number=2, seconds=243.4)
    record.log("stage", number=3, stage="unlearn", model="npo-both")
    record.log("training", number=3, model="npo-both", steps=30)
    record.log("step", number=3, model="npo-both", step=11, forget=0.1)
    return record


def test_a_run_that_another_process_works_on(record):
    found = status(record.folder)
    assert (found.state, found.done, found.planned) == ("running", 2, 5)
    assert re.search(
        r"run: running; 2 of 5 stages done, 3 left; since \d{4}-\d\d-\d\d \d\d:\d\d, 0 s$", *found.sentences
    )
    assert [tuple(row) for row in found.rows] == [
        ("1", "evaluate random weights", "from the cache"),
        ("2", "teach second oracle", "4 min 3 s"),
        ("3", "unlearn NPO · both", "running for 0 s, step 12 of 30"),
    ]


def test_a_killed_run_and_the_same_begun_again(record):
    folder = record.folder
    record._lock.release()  # as the end of a process does
    found = status(folder)
    assert found.state == "stopped" and found.rows[-1].time.startswith("stopped for 0 s")
    assert "the same command continues" in found.sentences[1]
    again = Record.create(folder, CONFIG)
    again.log("plan", stages=5)
    again.log("stage", number=1, stage="edit", model="gate-5")
    found = status(folder)
    assert (found.state, found.done, [row.name for row in found.rows]) == ("running", 0, ["edit gate-5"])


def test_a_finished_run_names_its_page_and_says_if_it_ended_early(record):
    record.write_text("report.html", "")
    record.log("done", number=3, seconds=7300.0)
    record.log("finished", signal=False)
    record._lock.release()
    found = status(record.folder)
    assert (found.state, found.rows[-1].time) == ("finished", "2 h 1 min")
    assert "left" not in found.sentences[0]
    assert found.sentences[1:] == [
        "It ended early: without signal, no method is applied.",
        str(record.folder / "report.html"),
    ]


def test_a_folder_without_a_log_a_plan_or_a_run(tmp_path):
    record = Record.create(tmp_path / "new", CONFIG)
    assert status(record.folder).sentences == [f"{record.folder}: running, no stage has begun; it is still loading"]
    record.log("trained", model="target", seconds=3.0)
    record._lock.release()
    assert "stopped; its log holds no plan of its stages; since" in status(record.folder).sentences[0]
    with pytest.raises(RecordError, match="not a run folder"):
        status(tmp_path)


def test_asking_does_not_keep_others_from_writing(record):
    folder = record.folder
    record._lock.release()
    del record
    gc.collect()
    for _ in range(3):
        assert status(folder).state == "stopped"
    Record.create(folder, CONFIG)


def test_times_are_spoken():
    assert [spoken_time(s) for s in (0.4, 59, 61, 3600, 86399)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "23 h 59 min",
    ]
