"""Grades are read in every form a judge writes them, and never guessed."""

import time

import pytest

from unsee.judge.reading import read_grades

THOUGHT = [
    "<think>\nThe city is right: 9? No.\nSCORE: 9\n</think>\n\nSCORE: 7",
    "The template began the thought. SCORE: 2</think>SCORE: 7",
    "<thinking>3</thinking> 7",
    "[THINK]5[/THINK]SCORE: 7",
    "\u25c1think\u25b75\u25c1/think\u25b7SCORE: 7",
    "<|channel|>analysis<|message|>3<|end|><|start|>assistant<|channel|>final<|message|>SCORE: 7",
]
MARKED = [
    "**SCORE: 7**", "**Score:** 7", "SCORE: **7**", "_SCORE_: 7", "# Score: 7", "> SCORE: 7", "- SCORE: 7",
    "1. Score: 7", "`SCORE: 7`", "```\nSCORE: 7\n```", "<answer>SCORE: 7</answer>", "$\\boxed{7}$", "SCORE: \\boxed{7}",
    '"SCORE: 7"',
]  # fmt: skip
OBJECTS = [
    '{"SCORE": "7"}', '```json\n{"score": 7}\n```', '{"score": 7, "reason": "close"}', '{"rating": "7/10"}',
    'Here it is: {"Score": 7.0}.', '{"scores": [7]}',
]  # fmt: skip
WORDED = [
    "SCORE: 7", "SCORE: 7\n", "score 7", "score=7", "SCORE: 7/10", "SCORE: 7 / 10.", "SCORE: 7 out of 10", "SCORE: 7.0",
    "SCORE: 7.", "7", "7.", "7/10", "Score: seven", "score\uff1a\uff17", "Final score: 7", "My score is 7", "Rating: 7",
    "SCORE: 7\nSCORE: 7", "SCORE: 7 because it is close", "SCORE: 7 - a detail of 3 is missing", "Score: 7, as 2 fit",
    "The city is right.\n\nSCORE: 7", "SCORE: 7\n\nThe answer says 1990, which is wrong.", "I would say 7 of 10.",
    "**Score**: 7/10\n\n**Reason**: 3 of 4 facts are right.",
]  # fmt: skip


@pytest.mark.parametrize("reply", [*THOUGHT, *MARKED, *OBJECTS, *WORDED])
def test_a_score_is_read(reply):
    assert read_grades(reply, "score") == (7,)


@pytest.mark.parametrize(
    "reply",
    [
        "", "no idea", "SCORE:", "SCORE: N", "SCORE: 0", "SCORE: 11", "SCORE: 100", "SCORE: -7", "-7", "SCORE: 7.5",
        "SCORE: 7,5", "SCORE: 70%", "SCORE: 7-8", "SCORE: 7 to 8", "SCORE: 7 or 8", "SCORE: 7\nSCORE: 8",
        "Score: 3/5", "3/5", "score: 3 of 5", "7/100", "7 of 10 or 8 of 10", "I saw 7 of them", "1990",
        "<think>\nSCORE: 7", "<think>SCORE: 7</think>", '{"score": 7.5}', '{"score": null}', '{"score": [7, 8]}', "[7]",
    ],
)  # fmt: skip
def test_what_is_no_score_from_1_to_10_is_not_guessed(reply):
    assert read_grades(reply, "score") is None


@pytest.mark.parametrize(
    ("reply", "grades"),
    [
        ("SCORES: 8 10", (8, 10)),
        ("8 10", (8, 10)),
        ("**Scores:** 8, 10", (8, 10)),
        ("SCORES: 8/10 10/10", (8, 10)),
        ('<think>1 1</think>{"scores": [8, 10]}', (8, 10)),
        ("SCORES: 8", None),
        ("SCORES: 8 9 10", None),
        ("SCORES: 0 5", None),
        ("8/10", None),
    ],
)
def test_two_grades_are_read_as_one_is(reply, grades):
    assert read_grades(reply, "score", count=2) == grades


@pytest.mark.parametrize(
    "piece", ["score ", "score is ", "{", "[", "<think>", "1 ", "a", "_", " ", "- ", "7/10 ", "\n"]
)
def test_long_replies_are_read_at_once(piece):
    started = time.process_time()
    for count in (1, 2):
        read_grades(piece * 200_000, "score", count)
    assert time.process_time() - started < 20  # a search that goes back takes minutes
