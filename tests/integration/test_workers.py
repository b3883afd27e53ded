"""A run on several workers, machines or commands: the same scores, also where a worker or a machine dies."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from integration.command import Command, scores_but_for_cost
from leftovers import files_in
from together import together

from unsee.core.record import Record
from unsee.runs.status import status
from unsee.runtime.ray_workers import RayWorkers
from unsee.runtime.tasks import Task, run_tasks


def start(words, cache, **variables):
    """Begin a command, and wait until one of its workers trains; the command and its workers."""
    log = words[-1] / "log.jsonl"
    command = Command(words, cache, variables={"UNSEE_WORKERS": "2", **variables})
    until = time.monotonic() + 300
    while not log.exists() or '"training"' not in log.read_text():
        assert time.monotonic() < until and command.process.is_alive(), command.err.read_text()
        time.sleep(0.05)
    return command, command.workers()


def test_two_workers_of_which_one_is_killed_end_with_the_same_scores(brief, brief_finished, tmp_path):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    uninterrupted, expected = brief_finished
    command, workers = start([*brief, "--out", folder], cache)
    assert len(workers) == 2
    workers[0].kill()
    done = command.finished()
    assert done.code == expected.code, done.err
    assert "killed by SIGKILL; it is done again" in done.err
    assert "Traceback" not in done.err
    assert not psutil.wait_procs(workers, timeout=30)[1]

    assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)
    expected = files_in(uninterrupted)
    assert files_in(folder) == expected
    assert not list(cache.rglob("*.part")) and not list((cache / "locks").iterdir())
    trained = Counter(event["model"] for event in Record.open(folder).events() if event["event"] == "trained")
    assert set(trained.values()) == {1}
    found = status(folder)
    assert (found.state, found.done) == ("finished", found.planned)


@pytest.mark.soak
def test_two_runs_on_one_cache_share_the_work(brief, brief_finished, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    commands = [Command([*brief, "--out", folder], tmp_path / "cache", name=f".{folder.name}") for folder in folders]
    uninterrupted, expected = brief_finished
    assert [command.finished().code for command in commands] == [expected.code] * 2
    events = [event for folder in folders for event in Record.open(folder).events()]
    done = Counter(
        f"{event['event']} {event['model']}" for event in events if event["event"] in ("trained", "evaluated")
    )
    assert set(done.values()) == {1}
    for folder in folders:
        assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster on this machine, of two nodes that have room for one worker each."""
    monkeypatch.setenv("RAY_worker_niceness", "0")  # beside other tests, they would wait for ever
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def _on_two_nodes(address: str, folder: Path) -> tuple[int, dict[str, object]]:
    """The number of workers, and what they return to this process, in which no function has a name that they know."""
    os.environ["RAY_ADDRESS"] = address

    def meet(me, other):
        (folder / me).touch()
        until = time.monotonic() + 60
        while not (folder / other).exists() and time.monotonic() < until:
            time.sleep(0.01)
        return (folder / other).exists()

    def open_tasks():
        meetings = {me: Task(me, (), lambda results, names=(me, other): meet(*names)) for me, other in ("ab", "ba")}
        return meetings | {"after": Task("after", ("a", "b"), lambda results: [*results.values()])}

    with RayWorkers(open_tasks, lambda: None) as workers:
        return workers.count, run_tasks([*open_tasks().values()], workers)


def test_two_nodes_of_ray_work_at_once_and_give_each_other_their_results(cluster, tmp_path):
    ((count, results),) = together(1, _on_two_nodes, cluster.address, tmp_path)
    assert count == 2
    assert results == {"a": True, "b": True, "after": [True, True]}


@pytest.mark.soak
def test_a_ray_cluster_of_two_nodes_of_which_one_dies_ends_with_the_same_scores(
    brief, brief_finished, cluster, tmp_path
):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    command, workers = start([*brief, "--out", folder], cache, UNSEE_WORKERS="ray", RAY_ADDRESS=cluster.address)
    assert not workers  # they belong to the nodes
    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    done = command.finished()
    uninterrupted, expected = brief_finished
    assert done.code == expected.code, done.err
    assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)
    assert files_in(folder) == files_in(uninterrupted)
