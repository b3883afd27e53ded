import math

import pytest

from unsee.data.schema import Question
from unsee.metrics import METRICS
from unsee.metrics.base import Given


def score(name, truth, answer, log_probability=-1.0, num_tokens=1):
    question = Question(task="cloze", input="image", question="?", answer=truth)
    given = Given(question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens)
    return METRICS.get(name)().score(given)


@pytest.mark.parametrize("answer", ["Oslo, Norway", " oslo,  NORWAY. ", "Oslo, Norway!"])
def test_accuracy_forgives_case_spaces_and_closing_points(answer):
    assert score("accuracy", "Oslo, Norway", answer) == 1


@pytest.mark.parametrize("answer", ["", "Oslo", "Oslo, Norway or Lima, Peru", "Norway, Oslo", "Oslo Norway"])
def test_accuracy_forgives_nothing_else(answer):
    assert score("accuracy", "Oslo, Norway", answer) == 0


def test_probability_is_the_geometric_mean_over_tokens():
    assert score("probability", "x", "", log_probability=math.log(0.25 * 0.04), num_tokens=2) == pytest.approx(0.1)
    assert score("probability", "x", "", log_probability=0.0, num_tokens=7) == 1


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence():
    truth = "She was born in Oslo"
    assert score("rouge_l", truth, truth) == 1
    assert score("rouge_l", truth, "she was BORN in Oslo.") == 1
    assert score("rouge_l", truth, "born Oslo") == pytest.approx(2 * (2 / 2) * (2 / 5) / (2 / 2 + 2 / 5))
    assert score("rouge_l", truth, "Oslo born") == pytest.approx(2 * (1 / 2) * (1 / 5) / (1 / 2 + 1 / 5))
    assert score("rouge_l", truth, "") == score("rouge_l", truth, "Lima") == 0
