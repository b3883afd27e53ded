"""The search of a method's options; the runs are replaced by a formula."""

import tomllib
from types import SimpleNamespace

import pytest

from unsee.config.recipe import load_recipe
from unsee.config.search import Range, search_space
from unsee.core.errors import ConfigError, UnknownNameError
from unsee.methods import METHODS
from unsee.report.search import Tried, panel
from unsee.runs import tune as tuning


@pytest.fixture
def runs(monkeypatch):
    """What was tried: a method is best at a learning rate of 1e-4."""
    tried = []

    def finished(configs, crew, progress):
        return [SimpleNamespace(verdict="ok", scores=SimpleNamespace(methods=[scored(config)])) for config in configs]

    def scored(config):
        ((name, table),) = config.method.items()
        tried.append(config)
        rate = table.options["learning_rate"]
        value = None if rate > 1e-3 else SimpleNamespace(value=1 - abs(rate - 1e-4) / (rate + 1e-4))
        return SimpleNamespace(
            method=name,
            efficacy=None,
            generality=None,
            utility=None,
            score=value,
            verdict="ok" if value else "collapsed",
        )

    monkeypatch.setattr(tuning, "begin", lambda config, out, progress, name: config)
    monkeypatch.setattr(tuning, "finished", finished)
    return tried


def test_the_first_trial_has_the_defaults_and_the_others_lie_in_the_declared_ranges(runs, tmp_path):
    tuning.tune(load_recipe("tiny"), ["npo"], 10, tmp_path)
    space, defaults = search_space(METHODS.get("npo")), METHODS.get("npo")()
    assert len(runs) == 10
    assert runs[0].method["npo"].options == {name: getattr(defaults, name) for name in space}
    for config in runs:
        options = config.method["npo"].options
        assert all(space[name].low <= value <= space[name].high for name, value in options.items())
        assert isinstance(options["steps"], int)
    assert len({config.method["npo"].options["learning_rate"] for config in runs}) == 10


def test_a_given_range_is_searched_in_place_of_the_declared_one(runs, tmp_path):
    ranges = {"steps": Range(10, 12), "strength": Range(1, 2)}  # NPO has no strength
    tuning.tune(load_recipe("tiny"), ["npo"], 8, tmp_path, ranges=ranges)
    assert {config.method["npo"].options["steps"] for config in runs} <= {10, 11, 12}
    assert "strength" not in runs[0].method["npo"].options


def test_people_are_others_than_those_reported_and_only_this_method_runs_from_both(runs, tmp_path):
    tuning.tune(load_recipe("quick"), ["npo"], 1, tmp_path)
    tuning.tune(load_recipe("quick", ["data.seed=7", 'method.npo.modality=["text"]']), ["npo"], 1, tmp_path)
    assert [config.data.seed for config in runs] == [1, 7]
    assert [list(config.method) for config in runs] == [["npo"]] * 2
    assert [config.method["npo"].modality for config in runs] == [("both",), ("text",)]
    assert runs[0].method["npo"].seeds == ()
    assert runs[0].method["npo"].options["learning_rate"] == 8.5e-4  # that of the recipe


def test_a_search_done_again_or_with_more_trials_draws_the_same(runs, tmp_path):
    first = tuning.tune(load_recipe("tiny"), ["npo"], 6, tmp_path)
    again = tuning.tune(load_recipe("tiny"), ["npo"], 6, tmp_path)
    tuning.tune(load_recipe("tiny"), ["npo"], 12, tmp_path)
    drawn = [config.method["npo"].options for config in runs]
    assert drawn[:6] == drawn[6:12]
    assert drawn[:4] == drawn[12:16]
    assert first == again


def test_the_best_options_are_a_table_for_a_recipe(runs, tmp_path):
    result = tuning.tune(load_recipe("tiny"), ["npo"], 8, tmp_path)
    text = result.table.read_text()
    said = "# The best of 8 trials for each method, recipe tiny, data.seed = 1.\n# npo: score "
    assert text.startswith(said)
    options = tomllib.loads(text)["method"]["npo"]
    assert len(result.trials) == 8
    assert float(result.trials[0].score) == max(float(trial.score) for trial in result.trials if trial.score != "-")
    assert options in [config.method["npo"].options for config in runs]
    load_recipe("tiny", [f"method.npo.{name}={value}" for name, value in options.items()])


@pytest.mark.parametrize(
    ("recipe", "method", "trials", "message"),
    [
        ("gate", "npo", 3, "this recipe is about documents"),
        ("tiny", "npo", 0, "^--trials 0: must be from 1"),
        ("tiny", "prompting", 3, r"^method\.prompting: declares no range"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(runs, tmp_path, recipe, method, trials, message):
    with pytest.raises(ConfigError, match=message):
        tuning.tune(load_recipe(recipe), [method], trials, tmp_path)
    assert not runs


@pytest.mark.parametrize("name", ["bata", "modality", "method.npo.beta"])
def test_a_range_of_an_option_that_no_method_searches_is_refused(runs, tmp_path, name):
    ranges = {"steps": Range(2, 3), name: Range(1, 2)}
    with pytest.raises(UnknownNameError, match=f"^--range: unknown name '{name}'"):
        tuning.tune(load_recipe("quick"), [], 2, tmp_path, ranges=ranges)
    assert not runs


def test_without_a_name_all_methods_of_the_recipe_are_searched_that_declare_a_range(runs, tmp_path):
    recipe = load_recipe("quick", ["method.again.use=npo", "method.again.learning_rate=2e-4"])
    result = tuning.tune(recipe, [], 2, tmp_path)
    searched = [name for name in recipe.method if name != "prompting"]
    assert [list(config.method) for config in runs] == [[name] for name in searched for _ in range(2)]
    tables = tomllib.loads(result.table.read_text())["method"]
    assert list(tables) == searched and tables["again"]["use"] == "npo"
    page = result.page.read_text()
    assert page.count("<svg") == sum(len(search_space(METHODS.get(tables[name].get("use", name)))) for name in searched)
    assert "2 trials for each method" in page


def test_a_trial_lies_where_its_option_and_its_score_say():
    tried = [Tried(1, {"rate": 1e-3}, 1.0, "ok"), Tried(0, {"rate": 1e-5}, 0.0, "collapsed")]
    found = panel("rate", Range(1e-5, 1e-3), tried)
    assert [mark[:2] for mark in found.marks] == [(found.left, found.bottom), (found.right, found.top)]
    assert found.marks[-1][2] == "trial 1: rate 0.001, score 1.00, ok"
    ((middle, *_),) = panel("rate", Range(1e-5, 1e-3), [Tried(0, {"rate": 1e-4}, 0.5, "ok")]).marks
    assert middle == (found.left + found.right) / 2


def test_an_unknown_method_says_the_nearest(runs, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'npo'"):
        tuning.tune(load_recipe("tiny"), ["npoo"], 3, tmp_path)
