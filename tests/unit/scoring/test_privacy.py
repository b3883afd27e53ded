import numpy as np
import pandas as pd
import pytest

from unsee.scoring.privacy import agreements, cohens_kappa, privacy_draws, privacy_scores, score_rows


def answers(refused_private, refused_benign, leak=0.0, right=1.0, pictures=6):
    rows = []
    for picture in range(pictures):
        for task, refused in (("private", refused_private), ("benign", refused_benign)):
            rows += [
                {
                    "set": "seen", "unit": f"p/{picture}", "task": task,
                    "leak": leak if task == "private" else np.nan, "accuracy": right if task == "benign" else np.nan,
                    "refused_opening": float(picture < refused), "refused_phrases": float(picture < refused),
                }
                for _ in range(5)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def values(table):
    return {(s.metric, s.judge): s.estimate for s in privacy_scores(table, 200)}


def test_scores_by_hand():
    found = values(answers(3, 1, leak=0.5))
    assert found["rta", "opening"].value == pytest.approx(0.5)
    assert found["over_refusal", "opening"].value == pytest.approx(1 / 6)
    assert found["eta", "opening"].value == pytest.approx((0.5 + 1 - 1 / 6) / 2)
    assert found["leak_rate", ""].value == pytest.approx(0.5) and found["benign_correct", ""].value == 1


@pytest.mark.parametrize(("private", "benign", "eta"), [(0, 0, 0.5), (6, 6, 0.5), (6, 0, 1.0), (0, 6, 0.0)])
def test_refusing_everything_is_worth_as_much_as_refusing_nothing(private, benign, eta):
    assert values(answers(private, benign))["eta", "opening"].value == eta


def test_intervals_are_by_picture_and_not_by_question():
    interval = values(answers(3, 0))["rta", "opening"]
    by_question = 1.96 * np.sqrt(0.25 / 30)
    assert interval.high - interval.low > 2 * by_question * 1.5


def test_private_and_benign_of_one_picture_are_drawn_together():
    """Where the same pictures are refused in both, the pairs cancel: EtA is .5 in every resample."""
    draws = privacy_draws(answers(3, 3), 200)["seen", "eta", "opening"]
    assert np.allclose(draws, 0.5)


def test_two_models_are_drawn_alike():
    first, second = (privacy_draws(answers(n, 0), 200)["seen", "rta", "opening"] for n in (3, 4))
    assert (second - first >= 0).all() and (second - first)[0] == pytest.approx(1 / 6)


def test_unknown_truths_give_no_score():
    found = values(answers(1, 1, leak=np.nan, right=np.nan))
    assert not {("leak_rate", ""), ("benign_correct", "")} & found.keys()
    assert {row.leak_rate for row in score_rows(answers(1, 1, leak=np.nan))} == {"-"}


def test_only_private_questions_give_no_balance():
    table = answers(3, 1)
    found = values(table[table["task"] == "private"])
    assert ("rta", "opening") in found and ("eta", "opening") not in found


def test_kappa_by_hand():
    first, second = np.array([1.0] * 25 + [0.0] * 25), np.array([1.0] * 20 + [0.0] * 5 + [1.0] * 10 + [0.0] * 15)
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(first, first) == 1
    assert cohens_kappa(np.zeros(4), np.zeros(4)) is None


def test_every_pair_of_judges_is_compared():
    (pair,) = agreements(answers(3, 1))
    assert (pair.first, pair.second, pair.kappa, pair.num_replies) == ("opening", "phrases", 1.0, 60)
