import math
import unicodedata

import pytest
from rouge_score.rouge_scorer import RougeScorer
from scripts import SCRIPTS

from unsee.core.text import spaced, words
from unsee.data.people.profiles import draw_people
from unsee.data.people.questions import training_questions
from unsee.data.schema import Question
from unsee.metrics import METRICS
from unsee.metrics._rouge import f_measure
from unsee.metrics.base import AnsweredQuestion
from unsee.scoring.collapse import is_degenerate
from unsee.scoring.disclosure import discloses


def score(name, truth, answer, log_probability=-1.0, num_tokens=1, **options):
    question = Question(task="cloze", input="image", question="?", answer=truth)
    answered = AnsweredQuestion(
        question=question, answer=answer, log_probability=log_probability, num_tokens=num_tokens
    )
    return METRICS.get(name)(**options).score(answered)


@pytest.mark.parametrize("answer", ["Oslo, Norway", " oslo,  NORWAY. ", "Oslo, Norway!"])
def test_accuracy_forgives_case_spaces_and_closing_points(answer):
    assert score("accuracy", "Oslo, Norway", answer) == 1


@pytest.mark.parametrize("answer", ["", "Oslo", "Oslo, Norway or Lima, Peru", "Norway, Oslo", "Oslo Norway"])
def test_accuracy_forgives_nothing_else(answer):
    assert score("accuracy", "Oslo, Norway", answer) == 0


@pytest.mark.parametrize(
    ("answer", "right"),
    [("Oslo, Norway", 1), ("It must be OSLO, norway, I think", 1), ("Oslo", 0), ("Oslo,  Norway", 0), ("", 0)],
)
def test_accuracy_by_substring_wants_the_truth_somewhere_word_for_word(answer, right):
    assert score("accuracy", "Oslo, Norway", answer, cloze_match="substring") == right


def test_a_substring_may_be_a_piece_of_a_word():
    assert score("accuracy", "art", "a heartless answer", cloze_match="substring") == 1
    assert score("accuracy", "art", "a heartless answer") == 0


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


def test_rouge_1_and_2_count_words_and_pairs_in_any_order():
    truth = "She was born in Oslo"
    assert score("rouge_1", truth, "Oslo born") == pytest.approx(2 * (2 / 2) * (2 / 5) / (2 / 2 + 2 / 5))
    assert score("rouge_2", truth, "Oslo born") == 0
    assert score("rouge_2", truth, "in Oslo she was") == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_bleu_is_the_geometric_mean_of_the_precisions_times_the_brevity_penalty():
    assert score("bleu", "the cat sat on the mat", "the cat sat on the mat") == pytest.approx(1)
    # precisions of 1 to 4 words: 5/6, 3/5, 1/4, and 0 of 3 which method 1 makes 0.1 / 3
    expected = (5 / 6 * 3 / 5 * 1 / 4 * 0.1 / 3) ** 0.25
    assert score("bleu", "the cat sat on the mat", "the cat is on the mat") == pytest.approx(expected)
    brief = math.exp(1 - 6 / 4) * 1
    assert score("bleu", "the cat sat on the mat", "the cat sat on") == pytest.approx(brief)
    assert score("bleu", "Oslo", "Oslo") == pytest.approx((1 * 0.1**3) ** 0.25)
    assert score("bleu", "Oslo", "") == 0
    assert score("bleu", "in Oslo today at noon", "in Oslo. today at noon") < 1  # words are what spaces separate


@pytest.mark.parametrize("truth", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_sentence_scores_1_against_itself_in_every_script(truth):
    for name in ("rouge_1", "rouge_2", "rouge_l", "accuracy"):
        assert score(name, truth, truth) == 1
        assert score(name, truth, unicodedata.normalize("NFD", truth)) == 1
    assert score("rouge_l", truth, "Oslo") == score("rouge_1", truth, "") == 0
    assert (score("bleu", truth, truth) == pytest.approx(1)) == (len(spaced(truth)) >= 4)
    assert discloses(f"{truth} Oslo", truth) and not discloses("Oslo", truth)
    assert not is_degenerate(truth, lexicon([truth]))


def lexicon(texts):
    return {word for text in texts for word in words(text.casefold())}


def test_letters_with_marks_count():
    assert score("rouge_1", "Łódź", "ódź") == score("rouge_l", "Zoë", "Zo") == 0
    assert score("accuracy", "北京", "北京。") == 1
    assert discloses("他住在北京市。", "北京") and not discloses("他住在东京市。", "北京")


def test_english_sentences_score_as_by_the_tokenizer_of_rouge_score():
    """Over everything that the invented people are asked, so that no figure of theirs moves."""
    people = draw_people(12, 3)
    told = [q.answer for person in people for q in training_questions(person)]
    asked = [q.question for person in people for q in training_questions(person)]
    said = [*told[1:], *asked[:40], "It's 1,234.5 m; co-operate_d?", "x", "running runners ran"]
    theirs = {kind: RougeScorer([kind], use_stemmer=True) for kind in ("rouge1", "rouge2", "rougeL")}
    for truth, answer in zip(told, said, strict=False):
        for kind, scorer in theirs.items():
            assert f_measure(kind, truth, answer) == scorer.score(truth, answer)[kind].fmeasure
        assert spaced(answer) == answer.split()
