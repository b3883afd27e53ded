import json
import re

import numpy as np
import pytest
from synthetic import CONTROLS, KNOWS, METHODS, NEVER_KNEW, Mind, Model, make_answers, make_run

from unsee.core.errors import RecordError
from unsee.core.record import Record
from unsee.scoring.cells import HEADLINE, cells
from unsee.scoring.intervals import Estimate
from unsee.scoring.people import ScoredRun, find_signal, harmonic_mean, score, score_runs, skill
from unsee.scoring.schema import Scores
from unsee.scoring.signal import Signal, SignalCell

pytestmark = pytest.mark.slow


def scored(*models, **options):
    scores = score(make_answers(CONTROLS + models, **options), num_resamples=200)
    return {m.method + (f"/{m.modality}" if m.modality else ""): m for m in scores.methods}


@pytest.fixture(scope="module")
def controls():
    return scored()


def test_skill_is_a_tent_from_target_over_oracle():
    target, oracle = np.full(6, 0.9), np.full(6, 0.3)
    method = np.array([1.0, 0.9, 0.6, 0.3, 0.15, 0.0])
    np.testing.assert_allclose(skill(method, target, oracle), [0, 0, 0.5, 1, 0.75, 0.5])


def test_skill_is_undefined_where_target_and_oracle_agree():
    assert np.isnan(skill(np.array([0.5]), np.array([0.5]), np.array([0.5])))[0]


def test_harmonic_mean_is_zero_if_a_part_is():
    np.testing.assert_allclose(harmonic_mean([np.array([1, 0.5, 0]), np.array([1, 1, 1])]), [1, 2 / 3, 0])


@pytest.mark.parametrize("name", ["target", "do_nothing"])
def test_a_model_that_still_knows_scores_exactly_zero(controls, name):
    method = controls[name]
    assert (method.efficacy.value, method.generality.value, method.score.value) == (0, 0, 0)
    assert (method.score.low, method.score.high) == (0, 0)
    assert method.utility.value == 1


def test_the_oracle_forgets_perfectly(controls):
    oracle = controls["oracle"]
    assert oracle.efficacy.value == oracle.generality.value == 1
    assert oracle.score.value > 0.98


def test_a_second_oracle_scores_nearly_as_well(controls):
    assert controls["oracle_2"].score.value >= 0.85
    assert controls["oracle_2"].verdict == "ok"


def test_random_weights_are_vetoed(controls):
    assert controls["random_weights"].verdict == "collapsed"
    assert controls["random_weights"].score.value == 0
    assert controls["random_weights"].reason


def test_the_more_is_forgotten_the_higher_the_score():
    shares = (0.9, 0.6, 0.3, 0.0)
    methods = scored(*(Model("npo", str(share), Mind((share,) * 2, (share,) * 2)) for share in shares))
    values = [methods[f"npo/{share}"].score.value for share in shares]
    assert values == sorted(values)
    assert values[0] < 0.4 < 0.85 < values[-1]


def test_the_less_is_kept_the_lower_the_score():
    methods = scored(*(Model("npo", str(kept), Mind((0, 0), (0, 0), kept)) for kept in (0.95, 0.7, 0.5)))
    values = [methods[f"npo/{kept}"].score.value for kept in (0.95, 0.7, 0.5)]
    assert values == sorted(values, reverse=True)


def test_a_rank_counts_the_methods_that_are_decidedly_better_so_near_ones_share_it():
    shares = {"a": 0.0, "b": 0.02, "c": 0.5, "d": 0.51, "e": 1.0}
    methods = scored(*(Model("npo", name, Mind((share,) * 2, (share,) * 2)) for name, share in shares.items()))
    assert [methods[f"npo/{name}"].rank for name in shares] == [1, 1, 3, 3, 5]
    assert {methods[name].rank for name in ("target", "oracle", "oracle_2", "do_nothing", "random_weights")} == {None}


def test_suppression_below_chance_scores_less_than_ignorance():
    methods = scored(Model("npo", mind=Mind((0, 0), (0, 0), suppresses=True)))
    assert methods["npo"].verdict == "ok"
    assert methods["npo"].efficacy.high < methods["oracle_2"].efficacy.low


@pytest.mark.parametrize(
    ("manner", "kept", "reason"),
    [
        ("gibberish", 0.97, "not made of words"),
        ("silent", 0.97, "empty"),
        ("parrot", 0.97, "one and the same"),
        ("plain", 0.0, "chance"),
    ],
)
def test_a_broken_model_is_vetoed_with_its_reason(manner, kept, reason):
    broken = scored(Model("npo", mind=Mind((0, 0), (0, 0), kept, manner=manner)))["npo"]
    assert broken.verdict == "collapsed"
    assert broken.score.value == 0
    assert reason in broken.reason


def test_answers_that_cannot_be_read_are_vetoed():
    answers = make_answers((*CONTROLS, Model("npo", mind=NEVER_KNEW)))
    mine = answers["method"] == "npo"
    answers.loc[mine & ~answers["set"].isin(["forget", "test"]), "valid"] = False
    npo = next(m for m in score(answers, 50).methods if m.method == "npo")
    assert npo.verdict == "collapsed"
    assert "cannot be read" in npo.reason


def test_always_the_same_letter_is_vetoed():
    answers = make_answers((*CONTROLS, Model("npo", mind=NEVER_KNEW)))
    mine = (answers["method"] == "npo") & (answers["task"] == "classification")
    answers.loc[mine, "answer"] = answers.loc[mine, "options"].str[0]
    npo = next(m for m in score(answers, 50).methods if m.method == "npo")
    assert npo.verdict == "collapsed"
    assert "same option" in npo.reason


def test_declining_about_the_forget_people_alone_is_no_collapse():
    declines = scored(Model("npo", mind=Mind((0, 0), (0, 0), manner="idk")), people=24, kept_people=12)["npo"]
    assert declines.verdict == "ok"
    assert declines.score.value > 0.4


def test_a_cell_without_signal_is_left_out():
    answers = make_answers((*CONTROLS, Model("npo", mind=NEVER_KNEW)))
    cell = (answers["set"] == "forget") & (answers["task"] == "cloze") & (answers["input"] == "image")
    answers.loc[cell & answers["method"].isin(["target", "oracle"]), "accuracy"] = 0.0
    answers.loc[cell & (answers["method"] == "npo"), "accuracy"] = 1.0
    found = find_signal(answers, 200)
    assert found.signal
    assert [(c.set, c.task, c.input) for c in found.cells if not c.signal] == [("forget", "cloze", "image")]
    npo = next(m for m in score(answers, 200).methods if m.method == "npo")
    assert npo.efficacy.value > 0.8


def test_without_signal_nothing_is_ranked():
    methods = scored(Model("npo"), people=8)
    assert methods["npo"].verdict == "ok"
    answers = make_answers((Model("target", mind=NEVER_KNEW), Model("oracle", mind=NEVER_KNEW), Model("npo")))
    assert not find_signal(answers, 200).signal
    for method in score(answers, 200).methods:
        assert method.verdict == "no signal"
        assert method.score is None


def test_a_handful_of_forget_people_is_no_signal():
    found = find_signal(make_answers(CONTROLS, people=4), 200)
    assert not found.signal
    assert found.reason.startswith("4 people to forget are too few")
    assert find_signal(make_answers(CONTROLS, people=5), 200).signal


@pytest.mark.parametrize(
    ("target", "oracle", "reason"),
    [
        (
            (0.25, 0.1),
            (0.25, 0.1),
            "^the target did not learn the people to forget .*; raise teach.steps or teach.learn",
        ),
        (
            (0.9, 0.8),
            (0.9, 0.8),
            "^the oracle answers about the people to forget like the target, .*take other people$",
        ),
        ((0.4, 0.3), (0.3, 0.2), "^the target learned too little of the people to forget .*, or forget more people$"),
    ],
)
def test_no_signal_says_why_with_the_figures_and_what_to_do(target, oracle, reason):
    shown = {"target": target, "oracle": oracle, "difference": (target[0] - oracle[0], -0.1)}
    estimates = {name: Estimate(value=value, low=low, high=1.0) for name, (value, low) in shown.items()}
    cell = SignalCell(
        set="forget", task="classification", input="text", metric="accuracy", n_units=9, chance=0.25, signal=False,
        **estimates,
    )  # fmt: skip
    found = Signal(signal=False, cells=[cell])
    assert re.search(reason, found.reason)
    assert f"(choices: target {target[0]:.2f}, oracle {oracle[0]:.2f}, chance 0.25)" in found.reason


def test_every_model_has_its_cells_with_interval_chance_and_invalid_rate():
    scores = score(make_answers(kept_people=24, items=60), 50)
    mine = [c for c in scores.cells if c.method == "target" and c.metric == HEADLINE[c.task]]
    assert len(mine) == 24 + 2
    for cell in mine:
        assert cell.low <= cell.value <= cell.high
        assert cell.chance == (0.25 if cell.task == "classification" else None)
        assert cell.floor == (pytest.approx(0.6) if cell.metric == "rouge_l" else None)
        assert cell.invalid == 0
        assert cell.n_units == (30 if cell.set == "general" else 12 if cell.set in ("forget", "test") else 24)


def test_cells_need_no_other_model():
    answers = make_answers()
    alone = answers[answers["method"] == "oracle_2"]
    among_others = [cell for cell in score(answers, 50).cells if cell.method == "oracle_2"]
    for cell, same in zip(cells(alone, 50), among_others, strict=True):
        assert cell.model_dump() == pytest.approx(same.model_dump())


def _npo(forget, seed, manner="plain", kept=0.95):
    return Model("npo", "both", Mind((forget, forget), (forget, forget), kept, manner), seed)


def test_several_seeds_are_one_row_whose_numbers_are_means_over_them():
    one, two = (scored(_npo(share, seed=0))["npo/both"] for share in (0.1, 0.5))
    both = scored(_npo(0.1, seed=0), _npo(0.5, seed=1))["npo/both"]
    for part in ("efficacy", "generality", "utility", "score"):
        mean = (getattr(one, part).value + getattr(two, part).value) / 2
        assert getattr(both, part).value == pytest.approx(mean, abs=0.03)
    assert [(training.seed, training.verdict) for training in both.trainings] == [(0, "ok"), (1, "ok")]
    assert one.trainings == []


def test_the_interval_of_several_seeds_is_wider_the_more_they_differ():
    def width(*shares):
        row = scored(*(_npo(share, seed) for seed, share in enumerate(shares)))["npo/both"].score
        return row.high - row.low

    assert width(0.05, 0.6, 0.3) > 1.5 * width(0.3, 0.3, 0.3)


@pytest.mark.parametrize(("broken", "verdict"), [(1, "ok"), (2, "collapsed")])
def test_a_training_that_collapsed_counts_zero_and_most_of_them_decide_the_verdict(broken, verdict):
    manners = ["silent"] * broken + ["plain"] * (3 - broken)
    row = scored(*(_npo(0.1, seed, manner) for seed, manner in enumerate(manners)))["npo/both"]
    assert row.verdict == verdict
    assert row.reason.startswith(f"{broken} of 3 trainings collapsed, the first because ")
    assert [training.score == 0 for training in row.trainings] == [manner == "silent" for manner in manners]
    assert row.score.value == pytest.approx(sum(training.score for training in row.trainings) / 3)


def test_runs_on_other_people_are_one_table_with_intervals_over_runs_too():
    answers = [make_answers((*CONTROLS, _npo(share, seed=0)), seed=draw) for draw, share in enumerate((0.0, 0.4))]
    answers = [table.assign(unit=f"{draw}/" + table["unit"]) for draw, table in enumerate(answers)]
    alone = [score(table, 200).methods[-1].score for table in answers]
    together = score_runs([ScoredRun(table, 200, draw) for draw, table in enumerate(answers)])
    row = together.methods[-1]
    assert row.score.value == pytest.approx((alone[0].value + alone[1].value) / 2)
    assert row.score.low < alone[1].value + 0.02 < alone[0].value - 0.02 < row.score.high
    assert [(training.run, training.seed) for training in row.trainings] == [(0, 0), (1, 0)]
    assert {cell.n_units for cell in together.cells if cell.set == "forget"} == {24}


def test_the_base_model_is_a_row_without_a_score_that_moves_no_other():
    before = scored(_npo(0.1, seed=0))
    after = scored(_npo(0.1, seed=0), Model("base", mind=Mind((0, 0), (0, 0), 0.6)))
    base = after.pop("base")
    assert after == before
    assert (base.efficacy, base.generality, base.score, base.verdict) == (None, None, None, "ok")
    assert 0.4 < base.utility.value < 0.9


@pytest.mark.parametrize(
    ("kept", "told"), [(1.0, "Teaching cost the target some"), (0.3, "Teaching cost the target nothing")]
)
def test_what_teaching_destroyed_is_a_sentence(kept, told):
    target = Model("target", mind=Mind((0.97, 0.97), kept=0.7))
    models = (target, Model("oracle", mind=NEVER_KNEW), Model("base", mind=Mind((0, 0), (0, 0), kept)))
    scores = score(make_answers(models), 200)
    assert scores.cost_of_teaching.startswith(told)
    assert bool(scores.lost) == (kept == 1.0)
    for cell in scores.lost:
        assert cell.set not in ("forget", "test") and cell.difference.high < 0
        assert f"{cell.set} {cell.task} by {cell.input} {cell.target.value:.2f} (base" in scores.cost_of_teaching
    assert score(make_answers(CONTROLS), 50).cost_of_teaching == ""


def test_garbled_answers_are_counted_though_the_model_has_not_collapsed():
    answers = make_answers((*CONTROLS, _npo(0.1, seed=0)))
    mine = answers.index[(answers["method"] == "npo") & (answers["task"] == "cloze")]
    answers.loc[mine[::2], "answer"] += "77777"
    found = {method.method: method for method in score(answers, 50).methods}
    assert found["npo"].verdict == "ok"
    assert found["npo"].garbled == pytest.approx(0.25, abs=0.02)
    assert found["target"].garbled == 0


def test_the_file_is_the_contract(tmp_path):
    make_run(tmp_path, make_answers())
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["schema"] == "unsee.scores/2"
    assert set(content) == {
        "schema",
        "kind",
        "reason",
        "better",
        "cells",
        "methods",
        "lost",
        "differences",
        "attacks",
        "measures",
        "requests",
        "agreements",
    }
    cell = {"method", "modality", "seed", "set", "task", "input", "metric", "value", "low", "high"}
    assert cell | {"n_units", "n_items", "chance"} <= set(content["cells"][0])
    assert {"method", "modality", "efficacy", "generality", "utility", "score", "verdict"} <= set(content["methods"][0])
    assert set(content["methods"][0]["score"]) == {"value", "low", "high"}
    assert Scores.load(tmp_path, "scores.json") == score(make_answers())
    assert Signal.load(tmp_path, "signal.json") == find_signal(make_answers())


def test_another_version_or_form_is_refused(tmp_path):
    record = Record.create(tmp_path, "seed = 0")
    record.write_json("scores.json", {"schema": "unsee.scores/1", "cells": [], "methods": []})
    with pytest.raises(RecordError, match=r"unsee\.scores/1"):
        Scores.load(tmp_path, "scores.json")
    damaged = {"schema": "unsee.scores/2", "kind": "people", "cells": [], "methods": [{"method": "npo"}]}
    record.write_json("scores.json", damaged)
    with pytest.raises(RecordError, match=r"methods\.0\.modality"):
        Scores.load(tmp_path, "scores.json")
    with pytest.raises(RecordError, match="missing"):
        Signal.load(tmp_path, "signal.json")


def test_scores_say_what_they_are_about_and_which_way_metrics_point():
    scores = score(make_answers(), 10, better={"accuracy": "higher"})
    assert (scores.kind, scores.better, scores.further_metrics) == ("people", {"accuracy": "higher"}, [])


def test_scores_survive_the_way_through_parquet(tmp_path):
    answers = make_answers()
    record = Record.create(tmp_path, "seed = 0")
    record.write_table("answers.parquet", answers)
    assert score(record.read_table("answers.parquet"), 50) == score(answers, 50)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a.drop(columns="chance"), "no column chance"),
        (lambda a: a[a["method"] != "oracle"], "no rows of 'oracle'"),
        (lambda a: a.drop(index=a.index[a["method"] == "oracle_2"][0]), "different questions"),
        (lambda a: a.assign(seed=range(len(a))), "'target' has answers of several seeds"),
    ],
)
def test_incomplete_answers_are_refused(damage, message):
    with pytest.raises(RecordError, match=message):
        score(damage(make_answers()), 10)


def test_the_whole_table_is_quick_and_ranks_as_designed():
    methods = scored(*METHODS)
    ranked = sorted(methods, key=lambda name: methods[name].score.value, reverse=True)
    assert ranked[:3] == ["oracle", "oracle_2", "npo/both"]
    assert KNOWS.kept > NEVER_KNEW.test[0]


def test_without_a_test_set_the_score_is_of_efficacy_and_utility():
    answers = make_answers((*CONTROLS, _npo(0.1, seed=0)))
    row = next(one for one in score(answers[answers["set"] != "test"], 50).methods if one.method == "npo")
    assert row.generality is None and row.verdict == "ok"
    assert row.score.value == pytest.approx(2 / (1 / row.efficacy.value + 1 / row.utility.value), abs=0.02)
