"""A run on several workers, machines or commands: the same scores, also where a worker or a machine dies."""

from __future__ import annotations

import time
from collections import Counter

import psutil
from integration.command import Command, scores_but_for_cost
from leftovers import files_in

from unsee.core.record import Record
from unsee.runs.status import status


def start(words, cache, **variables):
    """Begin a command, and wait until one of its workers trains; the command and its workers."""
    log = words[-1] / "log.jsonl"
    command = Command(words, cache, variables={"UNSEE_WORKERS": "2", **variables})
    until = time.monotonic() + 120
    while not log.exists() or '"training"' not in log.read_text():
        assert time.monotonic() < until and command.process.is_alive(), command.err.read_text()
        time.sleep(0.05)
    servers = [one for one in psutil.Process(command.process.pid).children() if "forkserver" in " ".join(one.cmdline())]
    return command, [worker for server in servers for worker in server.children()]


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


def test_a_ray_cluster_of_two_nodes_of_which_one_dies_ends_with_the_same_scores(brief, brief_finished, tmp_path):
    from ray.cluster_utils import Cluster

    folder, cache = tmp_path / "run", tmp_path / "cache"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    try:
        command, workers = start([*brief, "--out", folder], cache, UNSEE_WORKERS="ray", RAY_ADDRESS=cluster.address)
        assert not workers  # they belong to the nodes
        cluster.remove_node(node, allow_graceful=False)
        done = command.finished()
    finally:
        cluster.shutdown()
    uninterrupted, expected = brief_finished
    assert done.code == expected.code, done.err
    assert scores_but_for_cost(folder) == scores_but_for_cost(uninterrupted)
    assert files_in(folder) == files_in(uninterrupted)
