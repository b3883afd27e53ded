import numpy as np
import pandas as pd
import pytest
from synthetic import CONTROLS, make_answers

from unsee.scoring.intervals import Bootstrap, estimate


def table(values, people, set_name="retain"):
    return pd.DataFrame({"set": set_name, "unit": people, "value": values, "group": "all"})


def draws_of(frame, num_resamples=2000, seed=0):
    bootstrap = Bootstrap(frame, num_resamples, seed)
    return bootstrap.means(bootstrap.answers, "value", by=["group"])[("all",)]


def test_the_value_is_the_mean_of_the_sample_over_questions():
    assert draws_of(table([1, 0, 0, 1, 1], list("aabbb")))[0] == pytest.approx(0.6)


def test_the_width_is_that_of_people_not_of_questions():
    rng = np.random.default_rng(1)
    known = rng.integers(0, 2, 100).astype(float)
    per_person = draws_of(table(known, [str(n) for n in range(100)]))
    repeated = draws_of(table(np.repeat(known, 10), [str(n) for n in range(100) for _ in range(10)]))
    np.testing.assert_allclose(per_person, repeated)
    standard_error = known.std() / 10
    interval = estimate(per_person)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_forget_and_test_draw_the_same_people():
    values = np.arange(20.0)
    people = [str(n) for n in range(20)]
    frame = pd.concat([table(values, people, "forget"), table(values, people, "test")])
    bootstrap = Bootstrap(frame, 200)
    draws = bootstrap.means(bootstrap.answers, "value", by=["set"])
    np.testing.assert_allclose(draws[("forget",)], draws[("test",)])


def test_draws_do_not_depend_on_which_models_take_part():
    few, many = make_answers(CONTROLS[:2]), make_answers(CONTROLS)
    by = ["method", "set"]
    first, second = (Bootstrap(a, 50) for a in (few, many))
    np.testing.assert_allclose(
        first.means(first.answers, "accuracy", by)[("target", "forget")],
        second.means(second.answers, "accuracy", by)[("target", "forget")],
    )


def test_equal_seeds_give_equal_draws_and_others_do_not():
    frame = table(np.arange(10.0), list("abcdefghij"))
    np.testing.assert_array_equal(draws_of(frame, seed=3), draws_of(frame, seed=3))
    assert not np.array_equal(draws_of(frame, seed=3), draws_of(frame, seed=4))


def test_missing_values_are_left_out():
    assert draws_of(table([1, np.nan, 0], list("aab")))[0] == 0.5
    assert estimate(draws_of(table([np.nan, np.nan], list("ab")))) is None


def test_an_interval_holds_its_value():
    interval = estimate(np.array([1.0, 0.5, 0.6, 0.7]))
    assert interval.low == pytest.approx(0.505)
    assert (interval.value, interval.high) == (1.0, 1.0)
