"""The stages of a run about people: which there are, and what each needs."""

from dataclasses import replace

import exams
import pytest
import tiny

from unsee.config.recipe import DataConfig, load_recipe
from unsee.core.errors import ConfigError
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.runs.continual import _given
from unsee.runs.people import PeopleRun, benchmark_of, material_of
from unsee.runs.weights import Weights
from unsee.runtime.cache import Cache


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))

    def open_run(*settings):
        config = load_recipe("tiny", settings)
        record = Record.create(tmp_path / "run", 'name = "tiny"\n')
        return PeopleRun(config, tiny.make_vlm(), exams.BENCHMARK, record, Cache(record.folder), Silent())

    return open_run


def test_methods_need_the_target_alone_so_that_they_begin_before_the_oracles_are_there(opened):
    run = opened()
    names = [task.name for task in run.tasks]
    assert names == [
        "evaluate base", "evaluate random_weights", "teach target", "evaluate target", "teach oracle",
        "evaluate oracle", "teach oracle_2", "evaluate oracle_2", "evaluate do_nothing",
        "unlearn gradient_difference-both", "evaluate gradient_difference-both",
    ]  # fmt: skip
    needs = {task.name: task.needs for task in run.tasks}
    assert needs["unlearn gradient_difference-both"] == ("teach target",)
    assert needs["evaluate gradient_difference-both"] == ("teach target", "unlearn gradient_difference-both")


@pytest.mark.parametrize(("epochs", "name"), [(1, "oracle_reference"), (0, "oracle")])
def test_the_reference_of_methods_is_the_first_oracle_or_one_with_epochs_of_its_own(opened, monkeypatch, epochs, name):
    npo = ['method.npo.modality=["image","text"]', "method.npo.reference=oracle"]
    run = opened(f"teach.reference_epochs={epochs}", *npo)
    taught = {}
    monkeypatch.setattr(run.scenario.stages, "teach", lambda *given: taught.setdefault(given[0], given))
    monkeypatch.setattr(run.scenario.stages, "export", lambda *given: None)
    tasks = {task.name: task for task in run.tasks}
    assert all(
        tasks[f"unlearn npo-{modality}"].needs == ("teach target", f"teach {name}") for modality in ("image", "text")
    )
    tasks[f"teach {name}"].compute({})
    _, people, teach, seed = taught[name]
    assert (people, seed) == (exams.BENCHMARK.retain, run.config.seed + 1)
    assert (teach.epochs, teach.steps) == ((1, 0) if epochs else (0, run.config.teach.steps))


@pytest.mark.slow
def test_generated_people_can_be_forgotten_by_the_half(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    few, half = (
        benchmark_of(DataConfig(people=20, celebrities=1, forget_percent=percent), Cache(), Silent())
        for percent in (15, 50)
    )
    assert (len(half.forget), len(half.retain)) == (10, 10)
    assert {person.id for person in few.forget} < {person.id for person in half.forget}


def test_a_request_shows_a_person_as_often_as_all_at_once(opened):
    run = opened("unlearn.batch_tokens=100")
    whole = material_of(exams.BENCHMARK, run.config)
    of_request = _given(lambda group: whole, exams.BENCHMARK.forget, 3, {})
    assert (of_request.unlearn.batch_tokens, of_request.unlearn.batch_examples) == (34, 0)
    assert whole.unlearn.batch_tokens == 100 and of_request.retain == whole.retain


def test_each_request_starts_from_the_model_that_the_last_one_left(opened):
    run = opened("requests=1")
    assert not [task.name for task in run.tasks if "after" in task.name or "retrained" in task.name]
    with pytest.raises(ConfigError, match="requests: 2 groups of 1 people to forget are too small"):
        opened("requests=2")


def test_a_chain_of_requests(opened, monkeypatch):
    people = tuple(exams.make_person(f"{number:03}", number) for number in range(4))
    monkeypatch.setattr(exams, "BENCHMARK", replace(exams.BENCHMARK, forget=people))
    run = opened(
        "requests=2", 'method.npo.modality=["image","both"]', "method.npo.seeds=[3,4]", "method.manu.share=0.1"
    )
    needs = {task.name: task.needs for task in run.tasks if "after" in task.name}
    assert needs == {
        "unlearn gradient_difference_after_1-both": ("teach target",),
        "evaluate gradient_difference_after_1-both": ("teach target", "unlearn gradient_difference_after_1-both"),
        "unlearn gradient_difference_after_2-both": ("unlearn gradient_difference_after_1-both",),
        "evaluate gradient_difference_after_2-both": (
            "unlearn gradient_difference_after_1-both", "unlearn gradient_difference_after_2-both",
        ),
        "unlearn npo_after_1-both": ("teach target",),
        "evaluate npo_after_1-both": ("teach target", "unlearn npo_after_1-both"),
        "unlearn npo_after_2-both": ("unlearn npo_after_1-both",),
        "evaluate npo_after_2-both": ("unlearn npo_after_1-both", "unlearn npo_after_2-both"),
    }  # fmt: skip
    taught, forgotten = {}, []
    monkeypatch.setattr(run.scenario.stages, "teach", lambda *given: taught.setdefault(given[0], given[1]))
    monkeypatch.setattr(run.scenario.stages, "export", lambda *given: None)
    tasks = {task.name: task for task in run.tasks}
    tasks["teach retrained_1"].compute({})

    def apply(own, start, material):
        forgotten.append([person.id for person in material.forget])
        assert own.seed == (3 if own.name.startswith("npo") else 0)
        return Weights("key", "draws")

    monkeypatch.setattr(run.scenario.stages, "apply", apply)
    for number, start in ((1, "teach target"), (2, "unlearn npo_after_1-both")):
        tasks[f"unlearn npo_after_{number}-both"].compute({start: Weights("start", "draws")})
    assert sorted(forgotten[0] + forgotten[1]) == [person.id for person in people] and len(forgotten[0]) == 2
    assert {person.id for person in taught["retrained_1"]} == {
        *forgotten[1], *(person.id for person in exams.BENCHMARK.retain),
    }  # fmt: skip
