"""Membership in an audit, from planted likelihoods: what is told, and what only an oracle can tell."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from unsee.scoring.audit_membership import membership_of

PEOPLE, ROWS, STRANGERS = 8, 4, 20


def asked(model, known, seed, people=PEOPLE):
    """Likelihoods of a model that finds the rows likelier about their people by `known` nats a token."""
    rng, hard = np.random.default_rng(seed), np.random.default_rng(99)
    rows = []
    for person in range(1, people + 1):
        for line in range(1, ROWS + 1):
            row, ease = f"{person:03}-{line:04}", 3 * hard.normal()  # answers differ in how easily they are guessed
            for way in range(2):
                about = [("forget" if way == 0 else "test", f"forget/{row}/{way:02}", known)]
                about += [("stranger", f"celebrity/s{number:02}/{row}{way}", 0.0) for number in range(STRANGERS)]
                rows += [
                    {"method": model, "set": name, "item": item, "row": row,
                     "probability": float(np.exp(-(8 - ease - gain + 0.3 * rng.normal())))}
                    for name, item, gain in about
                ]  # fmt: skip
    return pd.DataFrame(rows)


def read(before=2.0, after=0.0, oracle=None, seed=0, people=PEOPLE):
    gains = {"before": before, "after": after} | ({} if oracle is None else {"oracle": oracle})
    tables = [asked(model, gain, 10 * seed + number, people) for number, (model, gain) in enumerate(gains.items())]
    return membership_of(pd.concat(tables, ignore_index=True), 200)


def areas(found, signal="strangers"):
    return {one.model: one.area for one in found.found if one.signal == signal}


def test_a_model_that_knows_finds_its_rows_likelier_than_about_strangers():
    found = read()
    assert (found.people, found.rows, found.verdict) == (PEOPLE, PEOPLE * ROWS, "not recovered")
    assert areas(found)["before"].low > 0.95
    assert areas(found)["after"].low < 0.5 < areas(found)["after"].high
    rates = {one.model: one.found.value for one in found.found}
    assert rates["before"] > 0.9 > 0.2 > rates["after"]


@pytest.mark.parametrize(
    ("after", "oracle", "verdict"),
    [
        (2.0, None, "cannot be told"), (2.0, 0.0, "recovered"), (0.0, 0.0, "not recovered"),
        (2.0, 2.0, "not recovered"),  # these people are easily guessed by any model
        (-2.0, None, "not recovered"),
    ],
)  # fmt: skip
def test_only_an_oracle_makes_it_recovered(after, oracle, verdict):
    assert read(after=after, oracle=oracle, before=2.5).verdict == verdict


def test_a_model_before_that_says_the_values_in_other_words_leaves_it_untold():
    found = read(before=0.1, after=0.1, oracle=0.0)
    assert 0.5 < areas(found)["before"].value < 0.8 and found.is_weak and found.verdict == "cannot be told"


def test_few_people_have_no_interval_and_one_is_never_recovered():
    found = read(after=2.0, oracle=0.0, people=4)
    assert found.verdict == "recovered"
    assert all(one.area.low == one.area.value == one.area.high for one in found.found)
    assert read(after=2.0, oracle=0.0, people=1).verdict == "cannot be told"


def test_the_oracle_is_a_signal_of_its_own():
    found = areas(read(oracle=0.0), "oracle")
    assert found["oracle"].value == pytest.approx(0.5) and found["before"].low > 0.9


def test_an_area_is_that_of_all_pairs_beside_the_other_strangers():
    table = asked("before", 0.4, 3, people=5)
    found = areas(membership_of(pd.concat([table, asked("after", 0, 4, people=5)]), 50))["before"].value
    loss = (-np.log(table["probability"])).groupby([table["row"], table["item"].str.split("/").str[1].where(
        table["set"] == "stranger", "own")]).mean().unstack()  # fmt: skip
    strange = loss.drop(columns="own")
    members = strange.mean(axis=1) - loss["own"]
    others = (strange.sum(axis=1).to_numpy()[:, None] - strange) / (STRANGERS - 1) - strange
    pairs = mannwhitneyu(members, others.to_numpy().ravel()).statistic / (len(members) * others.size)
    assert found == pytest.approx(pairs)


def test_rows_that_no_stranger_is_asked_are_left_out():
    table = pd.concat([asked("before", 2.0, 0), asked("after", 0.0, 1)])
    alone = (table["row"] == "001-0001") & (table["set"] == "stranger")
    assert membership_of(table[~alone], 50).rows == PEOPLE * ROWS - 1
    assert membership_of(table[table["set"] != "stranger"], 50) is None


@pytest.mark.slow
@pytest.mark.parametrize("people", [2, pytest.param(5, marks=pytest.mark.soak)])
def test_models_that_know_nothing_are_seldom_called_recovered(people):
    found = [read(after=0.0, oracle=0.0, seed=seed, people=people).verdict for seed in range(1, 31)]
    assert found.count("recovered") <= 1 and found.count("not recovered") >= 26
