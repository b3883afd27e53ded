"""The scheduler: order, failures, workers that die, and how close the time comes to what is possible."""

import logging
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from functools import partial

import psutil
import pytest

from unsee.core.errors import ConfigError, RecordError, UnknownNameError, UnseeError
from unsee.runtime import tasks as scheduling
from unsee.runtime.tasks import Here, NotNow, Outcome, Task, run_tasks
from unsee.runtime.workers import Processes, portable


def task(name, *needs, compute=None, cost=1.0):
    return Task(name, needs, compute or (lambda results: {**results, "me": name}), cost)


class Pretended:
    """Workers for which time passes in steps of 1, so that a makespan can be counted."""

    attempts = 3

    def __init__(self, count):
        self.count = count
        self.now = 0.0
        self.busy = []

    def start(self, task, results):
        assert len(self.busy) < self.count
        self.busy.append((self.now + task.cost, task, results))

    def wait(self):
        end = min(self.busy, key=lambda one: one[0])
        self.busy.remove(end)
        self.now = end[0]
        return [Outcome(end[1].name, end[1].compute(end[2]))]


def run_of_fifty_stages():
    """Three models are taught, and nine methods applied, as in a run."""
    tasks = []
    for name in ("target", "oracle", "oracle_2"):
        tasks += [task(f"teach {name}", cost=70), task(f"evaluate {name}", f"teach {name}", cost=4)]
    for number in range(22):
        tasks += [
            task(f"unlearn {number}", "teach target", cost=5 + number % 3),
            task(f"evaluate {number}", "teach target", f"unlearn {number}", cost=4),
        ]
    return tasks


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_time_is_within_a_tenth_of_the_critical_path_or_of_the_work_over_workers(count):
    tasks, workers = run_of_fifty_stages(), Pretended(count)
    run_tasks(tasks, workers)
    methods = sum(one.cost for one in tasks if "teach target" in one.needs and one.name != "evaluate target")
    work, critical = sum(one.cost for one in tasks), 70 + 7 + 4
    assert workers.now <= 1.1 * max(work / count, critical, 70 + methods / count)


def test_a_task_gets_the_results_that_it_needs_and_no_others():
    results = run_tasks([task("a"), task("b", "a"), task("c", "b")], Here())
    assert results["c"] == {"b": results["b"], "me": "c"}


def test_one_worker_keeps_the_order_of_the_list_and_several_begin_with_the_longest_way():
    tasks = [task("short"), task("long", cost=5), task("after", "short", cost=9)]
    begun = []
    for workers in (Here(), Pretended(2)):
        plain = workers.start
        workers.start = lambda task, results, plain=plain: (begun.append(task.name), plain(task, results))
        run_tasks(tasks, workers)
    assert begun == ["short", "long", "after", "short", "long", "after"]
    with pytest.raises(ValueError, match="stands before one that it needs"):
        run_tasks([task("b", "a"), task("a")], Here())
    with pytest.raises(ValueError, match="has the name of another"):
        run_tasks([task("a"), task("a")], Here())


def test_what_is_shown_early_is_done_first_and_with_several_workers_too():
    tasks = [task("teach", cost=70), replace(task("evaluate", cost=1), early=True), task("last", cost=100)]
    ended = []
    for one in range(len(tasks)):
        tasks[one] = replace(tasks[one], compute=lambda results, name=tasks[one].name: ended.append(name))
    run_tasks(tasks, Pretended(2))
    assert ended[0] == "evaluate"


def test_what_is_there_already_or_not_wanted_any_more_is_not_computed():
    def fail(results):
        raise AssertionError

    tasks = [task("kept", compute=fail), task("a", "kept"), task("b", compute=fail)]
    results = run_tasks(tasks, Here(), done={"kept": 3}, unwanted=lambda results: {"b"} if "a" in results else ())
    assert results == {"kept": 3, "a": {"kept": 3, "me": "a"}}


def test_where_a_task_fails_the_other_branches_are_done_and_then_its_error_is_raised(caplog):
    done = []

    def fail(results):
        raise ConfigError("method.npo: diverged")

    tasks = [
        task("npo", compute=fail), task("after npo", "npo", compute=done.append), task("other", compute=done.append),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"method\.npo: diverged"):
        run_tasks(tasks, Here())
    assert len(done) == 1
    assert "npo: method.npo: diverged; stages that do not need it go on" in caplog.text


@pytest.mark.parametrize(("error", "vital"), [(RecordError("it is full"), False), (ConfigError("it is full"), True)])
def test_a_full_disk_and_a_target_that_cannot_be_taught_end_the_run_at_once(error, vital):
    done = []

    def fail(results):
        raise error

    with pytest.raises(type(error), match="full"):
        run_tasks([Task("a", (), fail, vital=vital), task("b", compute=done.append)], Here())
    assert not done


def test_a_stage_that_another_run_computes_is_put_off_and_others_go_first(monkeypatch):
    monkeypatch.setattr(scheduling, "AGAIN_SECONDS", 0.01)
    order, refusals = [], iter([True, True, False])

    def busy(results):
        if next(refusals):
            raise NotNow
        order.append("busy")

    run_tasks([task("busy", compute=busy), task("free", compute=lambda results: order.append("free"))], Here())
    assert order == ["free", "busy"]


def _meet(folder, me, other, results):
    (folder / me).touch()
    until = time.monotonic() + 60
    while not (folder / other).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return (folder / other).exists()


def _die_at_first(flag, results):
    if not flag.exists():
        flag.touch()
        _warn(results)
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def _die(results):
    os._exit(7)


def _refuse(results):
    raise UnknownNameError("method", "npoo", ["npo"])


def _warn(results):
    logging.getLogger("unsee.some").warning("a warning of worker %d", os.getpid())


def _tasks(folder):
    tasks = [Task(f"meet {me}", (), partial(_meet, folder, me, other)) for me, other in ("ab", "ba")]
    tasks += [Task("dies once", (), partial(_die_at_first, folder / "flag")), Task("after", ("dies once",), _warn)]
    return {one.name: one for one in [*tasks, Task("dies", (), _die), Task("refuses", (), _refuse)]}


def test_processes_work_at_once_and_a_dead_one_costs_its_task_only(tmp_path, caplog):
    tasks = _tasks(tmp_path)
    shown = []
    with Processes(2, partial(_tasks, tmp_path), lambda: shown.append(1)) as workers:
        results = run_tasks([one for name, one in tasks.items() if name not in ("dies", "refuses")], workers)
        assert results["meet a"] and results["meet b"]
        assert results["dies once"] == "alive"
        assert "dies once: its worker was killed by SIGKILL; it is done again" in caplog.text
        with pytest.raises(
            UnseeError, match=r"^dies: its worker ended with exit code 7, 3 times in a row; .*--workers"
        ):
            run_tasks([tasks["dies"]], workers)
        with pytest.raises(ConfigError, match="did you mean 'npo'"):
            run_tasks([tasks["refuses"]], workers)
        started = [worker.process for worker in workers._workers if worker]
    assert shown
    warned = {message for message in caplog.messages if message.startswith("a warning of worker")}
    assert len(warned) == 2, "also the one that died a moment later"
    assert not any(process.is_alive() for process in started)


def _sees(name):
    return {str(number): Task(str(number), (), partial(_variable, name)) for number in range(2)}


def _variable(name, results):
    time.sleep(0.5)  # so that the other worker has a task too
    return os.environ.get(name)


def test_each_worker_sees_its_gpu_and_the_environment_of_now(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with Processes(2, partial(_sees, "CUDA_VISIBLE_DEVICES"), gpus=2) as workers:
        assert set(run_tasks(list(_sees("").values()), workers).values()) == {"3", "5"}
    monkeypatch.setenv("SET_LATER", "yes")
    with Processes(1, partial(_sees, "SET_LATER")) as workers:
        assert set(run_tasks(list(_sees("").values()), workers).values()) == {"yes"}


def _hang(started, results):
    started.write_text(str(os.getpid()))
    time.sleep(600)


def _hanging(started):
    return {"hang": Task("hang", (), partial(_hang, started))}


def _run_hanging(started):
    with Processes(1, partial(_hanging, started)) as workers:
        run_tasks([Task("hang", (), print)], workers)


def test_a_worker_ends_with_its_parent(tmp_path):
    started = tmp_path / "started"
    parent = multiprocessing.get_context("spawn").Process(target=_run_hanging, args=(started,))
    parent.start()
    while not (started.exists() and started.read_text()):
        assert parent.is_alive()
        time.sleep(0.01)
    worker = psutil.Process(int(started.read_text()))
    parent.kill()
    worker.wait(timeout=30)


def test_errors_travel_between_processes_with_their_messages():
    error = portable(UnknownNameError("method", "npoo", ["npo"]))
    assert (type(error), str(error)) == (ConfigError, str(UnknownNameError("method", "npoo", ["npo"])))
    assert isinstance(portable(RecordError("full")), RecordError)
    try:
        raise KeyError("some")
    except KeyError as found:
        assert "test_errors_travel" in portable(found).__notes__[0]
