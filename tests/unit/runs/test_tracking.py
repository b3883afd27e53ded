"""Trackers get every number of a run's log, and its scores."""

import struct

import pytest
import synthetic
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from integration.command import unsee
from tensorboardX.proto.event_pb2 import Event

from unsee.core.errors import ConfigError, UnknownNameError
from unsee.core.record import Record
from unsee.runs.tracking import check_trackers, tracked

STEPS = [{"event": "step", "model": "npo-both", "step": n, "forget": 1.0 + n, "learning_rate": 0.5} for n in range(3)]


@pytest.fixture
def record(tmp_path):
    return Record.open(synthetic.make_run(tmp_path / "run"))


def run(record, *names):
    """A run that logs three steps of training while it is tracked."""
    record.log("step", model="npo-both", step=99, forget=9.0)  # of an earlier start
    with tracked(names, record, "quick"):
        for step in STEPS:
            record.log(**step)
        record.log("evaluated", model="npo-both", seconds=2.0)
        record.log("plan", stages=3)


def written(folder):
    """Every scalar of the event files in a folder, in order."""
    (path,) = folder.glob("events.*")
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found += [(value.tag, event.step, round(value.simple_value, 4)) for value in event.summary.value]
        at += length + 16
    return found


def test_tensorboard_gets_losses_rates_times_and_scores(record):
    run(record, "tensorboard")
    assert not [path for path in (record.folder / "tensorboard").rglob("*") if path.stat().st_mode & 0o077]
    assert not (record.folder / "tensorboard").stat().st_mode & 0o077
    found = written(record.folder / "tensorboard")
    for step in STEPS:
        assert ("npo-both/forget", step["step"], step["forget"]) in found
        assert ("npo-both/learning_rate", step["step"], 0.5) in found
    assert ("npo-both/evaluated_seconds", 0, 2.0) in found
    scores = {tag: value for tag, _, value in found if tag.endswith("/score")}
    told = {
        f"{m['method']}{'-' * bool(m['modality'])}{m['modality']}/score": m["score"]
        for m in record.read_json("scores.json")["methods"]
    }
    assert scores == {tag: pytest.approx(score["value"], abs=1e-4) for tag, score in told.items() if score}
    assert not any("99" in tag or step == 99 for tag, step, _ in found)


@pytest.fixture
def other(monkeypatch):
    """Another tracker of accelerate, without steps of its own, that keeps what it gets."""

    class Other(GeneralTracker):
        name, requires_logging_directory, tracker = "other", False, None
        got, ended, broken = [], False, False

        def __init__(self, project):
            self.got.append(project)

        def start(self):
            pass

        def log(self, values, step=None, **_):
            if Other.broken:
                raise OSError("no network")
            self.got.append((values, step))

        def finish(self):
            Other.ended = True

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "other", Other)
    return Other


def test_a_tracker_without_steps_gets_them_as_numbers(record, other):
    run(record, "other")
    assert other.got[0] == "unsee-quick"
    assert other.got[1] == ({"npo-both/forget": 1.0, "npo-both/learning_rate": 0.5, "npo-both/step": 0}, None)
    assert other.ended


def test_a_run_goes_on_without_a_tracker_that_breaks(record, other, caplog):
    other.broken = True
    run(record, "other")
    assert sum("no network" in line for line in caplog.messages) == 1


def test_it_ends_with_the_run_that_fails(record, other):
    with pytest.raises(ZeroDivisionError), tracked(["other"], record, "quick"):
        1 / 0  # noqa: B018
    assert other.ended


def test_what_cannot_track_is_named(record, other, monkeypatch):
    with pytest.raises(UnknownNameError, match="tensorboard"):
        check_trackers(["tensorbord"])
    check_trackers(["tensorboard"])
    with pytest.raises(ConfigError, match="pip install comet-ml"):
        check_trackers(["tensorboard", "comet_ml"])
    monkeypatch.setattr(other, "start", lambda tracker: 1 / 0)
    with pytest.raises(ConfigError, match="does not start"), tracked(["other"], record, "quick"):
        pass


@pytest.mark.parametrize("words", [[], ["--plan"]])
def test_a_missing_package_is_said_before_anything_is_done(words, tmp_path):
    said = unsee(["run", "tiny", "--track", "wandb", "--out", tmp_path / "run", *words], tmp_path / "cache")
    assert (said.code, said.out) == (2, "") and list(tmp_path.iterdir()) == []
    assert said.err == "unsee: --track wandb: its package is missing; run: pip install wandb\n"
