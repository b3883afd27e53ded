"""A run on several workers, machines or commands: the same scores, also where a worker or a machine dies."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

import psutil
from integration.command import Command, scores_but_for_cost
from leftovers import files_in

from unsee.core.record import Record
from unsee.runs.status import status


def start(words, cache, err, **variables):
    """Begin a command, and wait until one of its workers trains; the command and its workers."""
    log = words[-1] / "log.jsonl"
    seen = log.read_text().count('"training"') if log.exists() else 0
    environment = {**os.environ, "UNSEE_CACHE": str(cache), "UNSEE_WORKERS": "2", **variables}
    with err.open("w") as file:
        command = psutil.Popen([sys.executable, "-m", "unsee", *map(str, words)], env=environment, stderr=file)
    until = time.monotonic() + 120
    while not log.exists() or log.read_text().count('"training"') == seen:
        assert time.monotonic() < until and command.poll() is None, err.read_text()
        time.sleep(0.05)
    return command, [child for child in command.children() if "spawn_main" in " ".join(child.cmdline())]


def test_two_workers_of_which_one_is_killed_end_with_the_same_scores(recipe, finished, tmp_path):
    folder, cache, err = tmp_path / "run", tmp_path / "cache", tmp_path / "err"
    command, workers = start([*recipe, "--out", folder], cache, err)
    assert len(workers) == 2
    workers[0].kill()
    assert command.wait(timeout=300) == 0, err.read_text()
    assert "killed by SIGKILL; it is done again" in err.read_text()
    assert not psutil.wait_procs(workers, timeout=30)[1]

    uninterrupted, _ = finished
    assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)
    expected = files_in(uninterrupted)
    assert files_in(folder) == expected
    assert not list(cache.rglob("*.part")) and not list((cache / "locks").iterdir())
    trained = Counter(event["model"] for event in Record.open(folder).events() if event["event"] == "trained")
    assert set(trained.values()) == {1}
    found = status(folder)
    assert (found.state, found.done) == ("finished", found.planned)


def test_two_runs_on_one_cache_share_the_work(recipe, finished, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    commands = [Command([*recipe, "--out", folder], tmp_path / "cache", name=f".{folder.name}") for folder in folders]
    assert [command.finished().code for command in commands] == [0, 0]
    events = [event for folder in folders for event in Record.open(folder).events()]
    done = Counter(
        f"{event['event']} {event['model']}" for event in events if event["event"] in ("trained", "evaluated")
    )
    assert set(done.values()) == {1}
    uninterrupted, _ = finished
    for folder in folders:
        assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)


def test_a_ray_cluster_of_two_nodes_of_which_one_dies_ends_with_the_same_scores(recipe, finished, tmp_path):
    from ray.cluster_utils import Cluster

    folder, cache, err = tmp_path / "run", tmp_path / "cache", tmp_path / "err"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    try:
        command, workers = start(
            [*recipe, "--out", folder], cache, err, UNSEE_WORKERS="ray", RAY_ADDRESS=cluster.address
        )
        assert not workers  # they belong to the nodes
        cluster.remove_node(node, allow_graceful=False)
        assert command.wait(timeout=300) == 0, err.read_text()
    finally:
        cluster.shutdown()
    uninterrupted, _ = finished
    assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)
    assert files_in(folder) == files_in(uninterrupted)
