"""A run that is stopped, with no time to tidy up, ends as one that never was.

The making of data is stopped in `test_run.py`, in the one run that generates them.
"""

from __future__ import annotations

import signal

import pytest
from integration.command import Stop, scores_but_for_cost, unsee

from unsee.core.record import Record
from unsee.runs.status import status

STOPS = {
    "target": Stop("unsee.training.lessons:FineTuning.loss", 55),
    "target's weights": Stop("unsee.models.vlm:VLM.save", 1),
    "oracle": Stop("unsee.training.lessons:FineTuning.loss", 60),
    "evaluation": Stop("unsee.core.journal:Journal.add", 30),
    "Ctrl-C": Stop("unsee.training.lessons:FineTuning.loss", 20, signal.SIGINT),
    "method": Stop("unsee.methods.gradient_difference:GradientDifference.loss", 10),
    "report": Stop("unsee.runs.scenario:write_report"),
}


def test_a_run_killed_in_training_goes_on_from_its_checkpoint(recipe, finished, cache, tmp_path):
    words = [*recipe, "--out", tmp_path / "run"]
    target, *_ = sorted(cache.glob("weights/*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    target.unlink()  # the rest comes from the cache, if its new weights are the same
    assert unsee(words, cache, STOPS["target"]).code == -signal.SIGKILL
    assert status(tmp_path / "run").state == "stopped"
    uninterrupted, expected = finished
    assert unsee(words, cache).code == expected.code
    events = Record.open(tmp_path / "run").events()
    steps = [event["step"] for event in events if event["event"] == "step"]
    assert steps == [*range(54), *range(50, 80)]
    assert scores_but_for_cost(tmp_path / "run") == scores_but_for_cost(uninterrupted)


@pytest.mark.soak
def test_a_run_stopped_in_every_stage_ends_with_the_same_scores(brief, brief_finished, tmp_path):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    uninterrupted, expected = brief_finished
    for stage, stop in STOPS.items():
        command = unsee([*brief, "--out", folder], cache, stop)
        assert command.out == "", stage
        if stop.sent == signal.SIGINT:
            assert command.code == 130
            assert command.err.endswith("unsee: interrupted; resumable: run the same command again\n")
        else:
            assert command.code == -signal.SIGKILL, f"{stage}: {command.err}"
        assert status(folder).state == "stopped", stage
    assert unsee([*brief, "--out", folder], cache).code == expected.code
    steps = [event["step"] for event in Record.open(folder).events() if event["event"] == "step"]
    target, oracle = (*range(54), *range(50, 60)), (*range(59), *range(50, 60))  # every 50th step is kept
    assert steps == [*target, *oracle, *range(19), *range(60), *range(9), *range(20)]
    assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)
    assert {path.name for path in folder.iterdir()} == {path.name for path in uninterrupted.iterdir()}
