"""Membership and memorisation from planted likelihoods."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from unsee.scoring.memorisation import measures, truth_ratios

PEOPLE, QUESTIONS = 8, 6


def model(method, known, seed=0, strangers=True):
    """Likelihoods of a model that finds the text about the people to forget more likely by `known` nats a token."""
    rng = np.random.default_rng(seed)
    rows = []
    for name in ("forget", "stranger") if strangers else ("forget",):
        for unit in range(PEOPLE):
            for question in range(QUESTIONS):
                kinds = {"true": known, "reworded": known, "other": 0.0} if name == "forget" else {"true": 0.0}
                for kind, gain in kinds.items():
                    loss = 3 - gain + rng.normal() * 0.5
                    rows.append(
                        {"set": name, "unit": f"{name[0]}{unit}", "input": "text", "question": question, "kind": kind,
                         "tokens": 5, "zlib": 20, "loss": loss, "least": -2 * loss, "least_normal": -loss,
                         "memorised": min(1.0, 0.3 * gain), "extracted": min(1.0, 0.2 * gain)}
                    )  # fmt: skip
    return pd.DataFrame(rows).assign(method=method, modality="", seed=0)


def found(*models):
    listed = measures(pd.concat(models, ignore_index=True), num_resamples=200)
    return {(one.name, one.method): one for one in listed}


@pytest.fixture(scope="module")
def numbers():
    return found(model("target", 2.5), model("oracle", 0.0, 1), model("oracle_2", 0.0, 2), model("hidden", -2.0, 3))


def test_a_model_that_knows_is_told_from_one_that_does_not(numbers):
    assert numbers["AUC, loss", "target"].value.low > 0.95
    for signal in ("loss", "zlib", "least", "least normal"):
        assert numbers[f"AUC, {signal}", "oracle"].value.low < 0.5 < numbers[f"AUC, {signal}", "oracle"].value.high
    assert numbers["AUC, reference", "oracle"].value.value == pytest.approx(0.5)
    assert numbers["TPR at 1 % FPR, loss", "target"].value.value > 0.5
    assert numbers["PrivLeak", "oracle"].value.value == 0
    assert numbers["PrivLeak", "target"].value.low > 0 > numbers["PrivLeak", "hidden"].value.high
    assert numbers["truth ratio", "target"].value.high < 0.3 < 0.5 < numbers["truth ratio", "oracle"].value.low
    assert numbers["exact memorisation", "target"].value.value == pytest.approx(0.75)


def test_forget_quality_is_read_beside_the_second_oracle(numbers):
    oracle, second, target = (numbers["forget quality (KS)", one] for one in ("oracle", "oracle_2", "target"))
    assert (oracle.value.value, oracle.p_value) == (0, pytest.approx(1))
    assert second.p_value > 0.05 > 1e-6 > target.p_value
    assert target.value.value > 3 * second.value.value


def test_areas_and_rates_are_those_of_all_pairs_and_all_thresholds():
    own = model("target", 0.6, 5).round(1)  # rounding makes ties
    numbers = found(own, model("oracle", 0.0, 1))
    true = own[own["kind"] == "true"]
    members, others = (-true.loc[true["set"] == name, "loss"].to_numpy() for name in ("forget", "stranger"))
    area = mannwhitneyu(members, others).statistic / (len(members) * len(others))
    assert numbers["AUC, loss", "target"].value.value == pytest.approx(area)
    thresholds = [one for one in {*members, *others, np.inf} if (others >= one).mean() <= 0.01]
    expected = max((members >= one).mean() for one in thresholds)
    assert numbers["TPR at 1 % FPR, loss", "target"].value.value == pytest.approx(expected)


def test_without_strangers_membership_is_left_out():
    numbers = found(model("target", 2.0, strangers=False), model("oracle", 0.0, 1, strangers=False))
    assert {name for name, _ in numbers} == {
        "exact memorisation", "extraction strength", "truth ratio", "forget quality (KS)",
    }  # fmt: skip


def test_a_question_without_other_answers_has_no_truth_ratio():
    own = model("target", 2.0)
    rows = own[(own["kind"] != "other") | (own["question"] > 2)]
    assert len(truth_ratios(own)) == PEOPLE * QUESTIONS and len(truth_ratios(rows)) == PEOPLE * 3
    assert truth_ratios(rows[rows["kind"] != "other"]).empty
