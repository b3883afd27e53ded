"""Requests one after another, from planted answers: what is forgotten, what comes back, and beside all at once."""

import pandas as pd
import pytest
from synthetic import KNOWS, NEVER_KNEW, Mind, Model, make_answers

from unsee.scoring.continual import Chain, after_requests

pytestmark = pytest.mark.slow

FIRST, SECOND = ([f"{number:03d}" for number in range(start, start + 6)] for start in (0, 6))


def planted(method, forgotten, modality="both", kept=0.97):
    """Answers of a model that does not know some of the people to forget."""
    knows, gone = (
        make_answers((Model(method, modality, Mind(mind.forget, mind.test, kept)),)) for mind in (KNOWS, NEVER_KNEW)
    )
    return pd.concat([knows[~knows["unit"].isin(forgotten)], gone[gone["unit"].isin(forgotten)]], ignore_index=True)


@pytest.fixture(scope="module")
def controls():
    return [
        make_answers((Model("target", mind=KNOWS), Model("oracle", mind=NEVER_KNEW))),
        planted("retrained_1", FIRST, modality=""),
    ]


def run(controls, *models):
    """A method that forgets both groups at once, and its chain of two requests."""
    answers = [*controls, planted("npo", FIRST + SECOND)]
    answers += [planted(f"npo_after_{number}", *given) for number, given in enumerate(models, start=1)]
    chain = Chain("npo", "both", ("npo_after_1", "npo_after_2"))
    together = pd.concat(answers, ignore_index=True)
    return after_requests(together, [FIRST, SECOND], ["retrained_1", "oracle"], [chain], 100)


def test_a_chain_that_forgets_and_stays_so(controls):
    first, second = run(controls, (FIRST,), (FIRST + SECOND,))
    assert (first.request, first.people, second.request, second.people) == (1, 6, 2, 12)
    assert first.now.value > 0.8 and first.past is None and first.rebound is None and first.at_once is None
    assert second.now.value > 0.8 and second.past.value > 0.8
    assert second.rebound.value < 0.15
    assert second.at_once.value > 0.8 and second.verdict == "ok"


def test_what_comes_back_is_a_rebound(controls):
    _, second = run(controls, (FIRST,), (SECOND,))
    assert second.now.value > 0.8 > 0.1 > second.past.value
    assert second.rebound.low > 0.5
    assert second.score.value < second.at_once.value - 0.2


def test_a_request_that_changes_nothing_is_seen_now_and_not_as_a_rebound(controls):
    first, second = run(controls, ([],), (SECOND,))
    assert first.now.value < 0.1 and second.now.value > 0.8
    assert second.past.value < 0.1 and second.rebound.value < 0.15


def test_what_requests_cost_is_the_utility(controls):
    first, second = run(controls, (FIRST, "both", 0.95), (FIRST + SECOND, "both", 0.5))
    assert second.utility.high < first.utility.low


def test_a_group_without_signal_says_nothing(controls):
    answers = pd.concat([*controls, planted("npo", FIRST), planted("npo_after_1", FIRST)], ignore_index=True)
    chain = Chain("npo", "both", ("npo_after_1",))
    (found,) = after_requests(answers, [FIRST[:2]], ["retrained_1"], [chain], 100)
    assert found.now is None and found.score is None and found.verdict == "no signal"
