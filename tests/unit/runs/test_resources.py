"""GPUs of a stage: asked for in the recipe, checked before anything begins, handed to workers and to Ray."""

from types import SimpleNamespace

import pytest

from unsee.config.recipe import load_recipe
from unsee.core.errors import ConfigError, RecordError
from unsee.core.record import Record
from unsee.runs import graph
from unsee.runtime import ray_workers
from unsee.runtime.workers import _only_gpus


def recipe(gpus, *changes):
    return load_recipe("tiny", [f"resources.gpus={gpus}", *changes])


def machine(monkeypatch, gpus):
    monkeypatch.setattr(graph, "_gpus", lambda: gpus)


@pytest.mark.parametrize(("gpus", "found"), [(1, 0), (1, 4), (2, 2), (3, 8)])
def test_a_stage_gets_what_the_machine_has(monkeypatch, gpus, found):
    machine(monkeypatch, found)
    assert graph.crew_of(3, recipe(gpus)) == 3 and graph.crew_of("auto", recipe(gpus)) == "auto"


@pytest.mark.parametrize(("gpus", "found"), [(2, 0), (2, 1), (8, 4)])
def test_more_than_the_machine_has_is_said_before_the_run_begins(monkeypatch, gpus, found):
    machine(monkeypatch, found)
    with pytest.raises(ConfigError, match=rf"resources.gpus = {gpus}: .* this machine has \({found}\)"):
        graph.crew_of("auto", recipe(gpus))


def test_a_command_that_is_many_processes_starts_none_for_its_stages(monkeypatch):
    machine(monkeypatch, 4)
    monkeypatch.setattr(graph, "state", lambda: SimpleNamespace(num_processes=2))
    with pytest.raises(ConfigError, match="accelerate launch"):
        graph.crew_of(1, recipe(2))


@pytest.mark.parametrize(("gpus", "found", "workers"), [(1, 8, 8), (2, 8, 4), (3, 8, 2), (8, 8, 1)])
def test_as_many_workers_as_have_gpus_of_their_own(monkeypatch, gpus, found, workers):
    machine(monkeypatch, found)
    monkeypatch.setattr(graph.torch.accelerator, "is_available", lambda: True)
    assert graph._fitting(SimpleNamespace(config=recipe(gpus))) == workers


@pytest.mark.parametrize(
    ("visible", "each", "expected"),
    [("", 1, ["0", "1", "2", "3", "0"]), ("", 2, ["0,1", "2,3", "0,1"]), ("", 3, ["0,1,2", "0,1,2"]),
     ("7,5,3,1", 2, ["7,5", "3,1", "7,5"])],
)  # fmt: skip
def test_each_worker_sees_gpus_of_its_own(monkeypatch, visible, each, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    seen = [_only_gpus(worker, each, 4)["CUDA_VISIBLE_DEVICES"] for worker in range(len(expected))]
    assert seen == expected


class Cluster(SimpleNamespace):
    """A Ray of nodes with some CPUs and GPUs each; it keeps what tasks ask for."""

    def nodes(self):
        return [{"Alive": True, "Resources": resources} for resources in self.given]

    def remote(self, **asked):
        self.asked = asked
        return lambda function: function

    def put(self, value):
        return value


@pytest.mark.parametrize(
    ("nodes", "gpus", "asked", "count"),
    [
        ([{"CPU": 2}] * 2, 1, 0, 4),  # a single GPU is asked for only where there are some
        ([{"CPU": 8, "GPU": 4}] * 2, 1, 1, 8),
        ([{"CPU": 8, "GPU": 4}] * 2, 2, 2, 4),
        ([{"CPU": 8, "GPU": 4}, {"CPU": 8}], 4, 4, 1),
    ],
)
def test_ray_is_asked_for_the_gpus_of_a_stage(monkeypatch, nodes, gpus, asked, count):
    cluster = Cluster(given=nodes)
    monkeypatch.setattr(ray_workers, "connect", lambda address: cluster)
    workers = ray_workers.RayWorkers(dict, lambda: None, 1, gpus)
    assert (cluster.asked["num_gpus"], workers.count) == (asked, count)


def test_a_cluster_without_such_a_node_is_named(monkeypatch):
    monkeypatch.setattr(graph, "connect", lambda address: Cluster(given=[{"CPU": 8, "GPU": 2}] * 3))
    with pytest.raises(ConfigError, match=r"no node has 4 CPUs and 4 GPUs, .* resources.gpus"):
        graph.crew_of("ray", recipe(4))
    assert graph.crew_of("ray", recipe(2)) == "ray"


@pytest.mark.parametrize("change", ["resources.gpus=0", "resources.strategy=dp", "resources.cpus=2"])
def test_what_no_stage_can_get_is_one_sentence(change):
    with pytest.raises(ConfigError, match=r"^resources\.\w+: .*$"):
        load_recipe("tiny", [change])


def test_a_run_goes_on_with_other_resources_and_with_no_other_figures(tmp_path):
    Record.create(tmp_path / "run", "seed = 1\n[resources]\ngpus = 1\n")
    Record.check(tmp_path / "run", "seed = 1\n[resources]\ngpus = 4\n")
    with pytest.raises(RecordError, match="another config"):
        Record.check(tmp_path / "run", "seed = 2\n[resources]\ngpus = 1\n")
