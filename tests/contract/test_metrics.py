"""What holds for every metric, found by its name."""

import random
from typing import get_args

import pytest

from unsee.core.record import METRIC_COLUMNS, OPTIONAL_METRICS
from unsee.data.schema import Question, Task
from unsee.metrics import METRICS
from unsee.metrics.base import AnsweredQuestion

NAMES = METRICS.names()
TASKS = set(get_args(Task)) - {"train"}
TEXTS = ["Oslo, Norway", "She was born in Oslo.", "A baker.", "7 March 1961", "", "__", "Ö 東 \n", "the the the"]


def given(task, truth, answer, log_probability=0.0, num_tokens=1):
    """An answer to a question with all that a benchmark may have; a certain truth is likelier than the false answer."""
    options = (truth, "Lima", "Cairo", "Perth") if task == "classification" else ()
    question = Question(
        task=task, input="image", question="Where?", answer=truth, options=options, perturbed=("Perth",),
        keywords=(truth,),
    )  # fmt: skip
    scored = (log_probability, num_tokens)
    false = (-5.0 if log_probability else -1000.0, 1)
    return AnsweredQuestion(
        question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens,
        others=(scored, false),
    )  # fmt: skip


@pytest.fixture(params=NAMES)
def metric(request):
    return METRICS.get(request.param)()


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_where_it_comes_from_and_which_way_is_better(name):
    (leaf,) = [leaf for leaf in METRICS.leaves() if leaf.name == name]
    assert leaf.paper
    assert METRICS.get(name).better == "higher"
    assert "higher means more knowledge" in " ".join(METRICS.get(name).__doc__.split())


def test_it_is_defined_for_existing_tasks_only(metric):
    assert metric.tasks
    assert set(metric.tasks) <= TASKS


def test_it_lies_between_zero_and_one_whatever_was_answered(metric):
    rng = random.Random(0)
    for task in metric.tasks:
        for truth in filter(str.strip, TEXTS):
            for answer in TEXTS:
                value = metric.score(given(task, truth, answer, -rng.expovariate(0.01), rng.randint(1, 30)))
                assert isinstance(value, float)
                assert 0 <= value <= 1


def test_a_perfect_answer_is_best_and_a_wrong_one_worse(metric):
    for task in metric.tasks:
        assert metric.score(given(task, TEXTS[1], TEXTS[1])) == 1
        for truth in TEXTS[:4]:
            best = metric.score(given(task, truth, truth))
            assert best == max(metric.score(given(task, truth, answer)) for answer in TEXTS)
            assert metric.score(given(task, truth, "Perth", log_probability=-200.0, num_tokens=2)) < min(0.1, best)


def test_what_it_measures_has_its_place_in_reports(metric, request):
    assert request.node.callspec.params["metric"] in (*METRIC_COLUMNS, *OPTIONAL_METRICS)


def test_it_is_a_function_of_the_example_alone(metric):
    example = given(metric.tasks[0], "Oslo, Norway", "Oslo", -3.0, 4)
    first = metric.score(example)
    metric.score(given(metric.tasks[0], "Lima", "Perth", -9.0, 2))
    assert metric.score(example) == first


def test_every_task_has_a_metric_of_what_was_answered():
    judged = {task for name in NAMES if name != "probability" for task in METRICS.get(name).tasks}
    assert judged == TASKS - {"prose"}  # of which only the probability counts
