"""What an attack gets back, of models that are described instead of trained."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from synthetic import CONTROLS, KNOWS, NEVER_KNEW, Mind, Model, make_answers, make_attacks

from unsee.scoring.attacks import with_attacks
from unsee.scoring.people import ScoredRun, score_runs

pytestmark = pytest.mark.slow

DO_NOTHING, ORACLE, SECOND = CONTROLS[3], CONTROLS[1], CONTROLS[2]
HIDES = Mind((0, 0), (0, 0), 0.95)
BELOW_CHANCE = Mind((0, 0), (0, 0), 0.95, suppresses=True)
WAY = ("relearn", "half", 4)
SMALL = {"people": 10, "kept_people": 6, "items": 8}


@cache
def runs_of(*methods, seeds=(0,)):
    return [
        ScoredRun(make_answers((*CONTROLS, *methods), seed=seed, **SMALL), num_resamples=200, seed=seed)
        for seed in seeds
    ]


@cache
def scored(*methods, seeds=(0,)):
    return score_runs(runs_of(*methods, seeds=seeds))


def attacked(ways, *methods, seeds=(0,)):
    """Scores of these methods under these ways, in which the controls answer as ever unless they are given."""
    runs = runs_of(*methods, seeds=seeds)
    full = {}
    for way, models in ways.items():
        given = {(model.method, model.modality) for model in models}
        full[way] = (*(one for one in (DO_NOTHING, ORACLE, SECOND) if (one.method, "") not in given), *models)
    attacks = [make_attacks(full, seed=seed, **SMALL) for seed in seeds]
    scores = with_attacks(scored(*methods, seeds=seeds), runs, attacks)
    return scores, {(one.variant, one.method): one for one in scores.attacks}


def together(*tables):
    return pd.concat([table.drop(columns="cluster", errors="ignore") for table in tables], ignore_index=True)


def robustness(scores):
    return {method.method: method.robustness for method in scores.methods}


def npo(mind):
    return Model("npo", "both", mind)


def test_an_attack_that_changes_nothing_gets_1_from_the_target_and_0_from_the_oracle():
    scores, found = attacked({WAY: (npo(HIDES),)}, npo(HIDES))
    target, oracle = found["half", "do_nothing"].recovered, found["half", "oracle"].recovered
    assert (target.value, target.low, target.high) == (1, 1, 1)
    assert (oracle.value, oracle.low, oracle.high) == (0, 0, 0)
    assert found["half", "do_nothing"].signal
    assert found["half", "npo"].recovered.value < 0.2
    robust = robustness(scores)
    assert robust["do_nothing"].value == 0 and robust["oracle"].value == 1
    assert robust["npo"].value > 0.8 and robust["oracle_2"].value > 0.8
    assert robust["target"] is None and robust["random_weights"] is None


def test_what_is_recovered_is_the_part_between_attacked_oracle_and_target():
    _, found = attacked({WAY: (npo(Mind((0.5, 0.5), (0, 0))),)}, npo(HIDES))
    known = {method: found["half", method].knows.value for method in ("do_nothing", "oracle", "npo")}
    part = (known["npo"] - known["oracle"]) / (known["do_nothing"] - known["oracle"])
    assert found["half", "npo"].recovered.value == pytest.approx(part)
    assert 0.3 < part < 0.7


@pytest.mark.parametrize("hidden", [HIDES, BELOW_CHANCE])
def test_a_model_that_gives_everything_back_is_not_robust_however_it_hid_it(hidden):
    """The cheats: a filter on names, and a model that was trained to answer below chance."""
    scores, found = attacked({("prompt", "role", 0): (npo(hidden),), WAY: (Model("npo", "both", KNOWS),)}, npo(hidden))
    assert found["role", "npo"].recovered.value < 0.2
    assert found["half", "npo"].recovered.value > 0.9
    assert robustness(scores)["npo"].value == pytest.approx(1 - found["half", "npo"].recovered.value)


def test_no_signal_where_target_and_attacked_oracle_do_not_differ():
    """Relearning that teaches the oracle everything too says nothing of any model."""
    learned = Model("oracle", mind=KNOWS), npo(KNOWS)
    scores, found = attacked({("relearn", "all", 8): learned, WAY: (npo(HIDES),)}, npo(HIDES))
    assert not any(one.signal for (variant, _), one in found.items() if variant == "all")
    assert scores.silent_attacks == []
    assert robustness(scores)["npo"].value > 0.8


def test_no_signal_where_the_attack_breaks_even_the_target():
    broken = tuple(Model(method, modality, Mind((0, 0), (0, 0), manner="gibberish"))
                   for method, modality in (("do_nothing", ""), ("oracle", ""), ("npo", "both")))  # fmt: skip
    scores, found = attacked({("picture", "noise", 0): broken}, npo(HIDES))
    assert found["noise", "do_nothing"].recovered.value < 0.9
    assert not any(one.signal for one in found.values())
    assert scores.silent_attacks == ["picture"]
    assert set(robustness(scores).values()) == {None}


def test_an_attack_that_teaches_the_oracle_something_is_read_against_that():
    learned = Mind((0.4, 0.4), (0, 0))
    _, found = attacked({WAY: (Model("oracle", mind=learned), npo(learned))}, npo(HIDES))
    assert found["half", "npo"].recovered.value < 0.2 and found["half", "npo"].knows.value > 0.4


def test_without_signal_there_is_nothing_to_get_back():
    alike = (Model("target", mind=NEVER_KNEW), *CONTROLS[1:3], Model("do_nothing", mind=NEVER_KNEW))
    run = ScoredRun(make_answers(alike, **SMALL), num_resamples=100)
    scores = with_attacks(score_runs([run]), [run], [make_attacks({WAY: alike[1:]}, **SMALL)])
    assert {(one.signal, one.knows, one.recovered) for one in scores.attacks} == {(False, None, None)}
    assert scores.silent_attacks == ["relearn"] and set(robustness(scores).values()) == {None}


def test_an_attack_that_asks_about_no_cell_with_signal_says_so_and_counts_for_nothing():
    run = runs_of(npo(HIDES))[0]
    attacks = make_attacks({WAY: (DO_NOTHING, ORACLE, npo(HIDES))}, **SMALL)
    other = attacks.assign(attack="picture", input="sound")  # a kind of question that no run has asked
    scores = with_attacks(scored(npo(HIDES)), [run], [together(attacks, other)])
    assert scores.silent_attacks == ["picture"]
    alone = with_attacks(scored(npo(HIDES)), [run], [attacks])
    assert robustness(scores) == robustness(alone)


def test_questions_that_an_attack_leaves_out_are_left_out_of_the_target_too():
    run = runs_of(npo(HIDES))[0]
    attacks = make_attacks({WAY: (DO_NOTHING, ORACLE, npo(HIDES))}, **SMALL)
    half = attacks[attacks["input"] == "image"].groupby("method").sample(frac=0.6, random_state=0)
    kept = attacks[attacks["item"].isin(set(half["item"]))]
    scores = with_attacks(scored(npo(HIDES)), [run], [kept])
    found = {one.method: one for one in scores.attacks}
    assert found["do_nothing"].recovered.value == 1 and found["oracle"].recovered.value == 0
    assert found["npo"].n_items == kept["item"].nunique() < 10 * 9
    assert found["npo"].n_units == 10


def test_an_attack_on_some_methods_says_nothing_of_the_others():
    scores, found = attacked({WAY: ()}, npo(HIDES))
    assert ("half", "npo") not in found and robustness(scores)["npo"] is None


def test_runs_about_other_people_are_pooled():
    (scores, found), each = (
        attacked({WAY: (npo(Mind((0.5, 0.5), (0, 0))),)}, npo(HIDES), seeds=seeds) for seeds in ((0, 1), (0,))
    )
    other = attacked({WAY: (npo(Mind((0.5, 0.5), (0, 0))),)}, npo(HIDES), seeds=(1,))
    values = [one["half", "npo"].recovered.value for _, one in (each, other)]
    assert found["half", "npo"].recovered.value == pytest.approx(np.mean(values))
    assert robustness(scores)["npo"].value == pytest.approx(1 - np.mean(values))
    assert found["half", "do_nothing"].recovered.low == 1


def test_a_run_that_an_attack_was_not_run_on_does_not_count_for_it():
    runs = runs_of(npo(HIDES), seeds=(0, 1))
    ways = {WAY: (DO_NOTHING, ORACLE, npo(KNOWS))}
    attacks = [make_attacks(ways, seed=0, **SMALL), make_attacks(ways, seed=1, **SMALL).head(0)]
    both = with_attacks(scored(npo(HIDES), seeds=(0, 1)), runs, attacks)
    alone = with_attacks(scored(npo(HIDES)), runs[:1], attacks[:1])
    assert [one.recovered for one in both.attacks] == [one.recovered for one in alone.attacks]


def test_people_are_drawn_as_for_efficacy():
    """A method that answers about each person as the target or as the oracle: what is lost is what is not recovered."""
    runs = runs_of(DO_NOTHING, npo(HIDES))
    answers = runs[0].bootstrap.answers
    target, oracle = (answers[answers["method"] == name].reset_index(drop=True) for name in ("target", "oracle"))
    mixed = oracle.where(oracle["unit"].isin([f"{number:03}" for number in range(5)]), target)
    mixed = mixed.assign(method="mixed", modality="both", seed=0)
    run = ScoredRun(together(answers, mixed), num_resamples=200)
    controls = make_attacks({WAY: (DO_NOTHING, ORACLE)}, **SMALL)
    own = mixed[mixed["set"] == "forget"].assign(attack=WAY[0], variant=WAY[1], budget=WAY[2])
    scores = with_attacks(scored(), [run], [together(controls, own)])
    knows = next(one for one in scores.attacks if one.method == "mixed").knows
    cells = [run.draws["mixed", "both", 0][name] for name in run.signal.names("forget")]
    draws = np.mean(cells, axis=0)
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    assert (knows.value, knows.low, knows.high) == pytest.approx((draws[0], low, high))


@pytest.mark.parametrize(("column", "signal"), [("inside", True), ("control", False)])
def test_what_is_read_inside_is_read_against_the_target_as_it_is_read_and_a_control_never_counts(column, signal):
    half = Mind(forget=(0.6, 0.6))
    way = ("probe", "probe, layer 1", 0)
    runs, models = runs_of(npo(HIDES)), (Model("do_nothing", mind=half), ORACLE, SECOND, npo(half))
    attacks = make_attacks({way: models}, seed=0, **SMALL).assign(inside=True)
    scores = with_attacks(scored(npo(HIDES)), runs, [attacks.assign(**{column: True})])
    found = {one.method: one for one in scores.attacks}
    assert found["do_nothing"].recovered.value == 1
    assert all(one.signal is signal for one in found.values())
    assert (robustness(scores)["npo"] is not None) is signal
    if signal:
        assert robustness(scores)["npo"].value < 0.4


def test_no_signal_where_even_the_second_oracle_is_said_to_know():
    half = Model("oracle_2", mind=Mind(forget=(0.5, 0.5)), seed=1)
    scores, found = attacked({WAY: (npo(HIDES), half)}, npo(HIDES))
    assert found["half", "oracle_2"].recovered.value > 0.2
    assert not any(one.signal for one in scores.attacks) and robustness(scores)["npo"] is None


def test_no_signal_where_little_can_be_read_inside():
    barely = Model("do_nothing", mind=Mind(forget=(0.15, 0.15)))
    attacks = make_attacks({("probe", "probe, layer 0", 0): (barely, ORACLE, SECOND)}, seed=0, **SMALL)
    scores = with_attacks(scored(), runs_of(), [attacks.assign(inside=True)])
    assert not any(one.signal for one in scores.attacks)
