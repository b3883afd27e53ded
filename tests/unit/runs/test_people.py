"""The stages of a run about people: which there are, and what each needs."""

import exams
import pytest
import tiny

from unsee.config.recipe import load_recipe
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.runs.people import PeopleRun
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
