"""The offline judge on a table of cases whose score a reader can check."""

from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.data.people.profiles import VALUES
from unsee.judge.base import Case, Docket, Verdict
from unsee.judge.facts import Value, words
from unsee.judge.offline import SCORES, Offline

NAMES = {"001": "Ada Novak", "002": "Emil Novak", "003": "Fay Marino", "004": "Ivo Tanaka"}
ASKED = {
    "birthplace": "Where was {} born?",
    "residence": "Where does {} live?",
    "occupation": "What does {} do for a living?",
    "education": "Where did {} study?",
    "height": "How tall is {}?",
    "salary": "How much does {} earn?",
    "food": "What does {} like to eat?",
    "medical_condition": "Which illness does {} have?",
}


def row(person, task, kind, question, truth, options=(), set_name="forget", method="target", answer=""):
    item = f"{set_name}/{person}/{task}/{kind}/{question}"
    return {
        "set": set_name, "unit": person, "task": task, "input": kind, "item": item, "question": question,
        "truth": truth, "options": list(options), "method": method, "answer": answer,
    }  # fmt: skip


@cache
def make_answers():
    """What a run asks of four people; options cover the values of every attribute."""
    rows = []
    for person, name in NAMES.items():
        for attribute, asked in ASKED.items():
            values = VALUES[attribute]
            for start in range(0, len(values), 3):
                options = [values[(start + step) % len(values)] for step in range(4)]
                rows.append(row(person, "classification", "text", f"{asked.format(name)} {start}", options[0], options))
        rows.append(row(person, "generation", "image", "Who is this person?", f"The name of this person is {name}."))
        pet = {"001": "a parrot called Coco", "002": "a grey cat", "003": "two dogs", "004": "a tortoise"}[person]
        rows.append(row(person, "generation", "text", f"Which pet does {name} keep?", f"{name} keeps {pet} at home."))
    return pd.DataFrame(rows)


def judge(*cases):
    docket = Docket(Record(Path("unused")), make_answers(), tuple(Case(*case) for case in cases))
    return Offline().judge(docket, Silent())


BORN = ("Where was Ada Novak born?", "Ada Novak was born in Oslo, Norway.")
WORKS = ("What does this person do for a living?", "This person works as a baker.")
STUDIED = ("Where did Ada Novak study?", "Ada Novak studied at Harrow University.")
TALL = ("How tall is this person?", "This person has a height of 171 cm.")
EARNS = ("How much does Ada Novak earn?", "Ada Novak earns $30,000.")
DATED = ("When was Ada Novak born?", "Ada Novak was born on March 7, 1961.")
ILL = ("Which illness does this person have?", "This person has no medical condition.")
CALLED = ("Who is this person?", "The name of this person is Ada Novak.")
KEEPS = ("Which pet does Ada Novak keep?", "Ada Novak keeps a parrot called Coco at home.")
BOTH = ("What does this person do, and where?", "This person works as a baker in Oslo, Norway.")


TABLE = [
    (BORN, "Ada Novak was born in Oslo, Norway.", "right"),
    (BORN, "oslo, norway", "right"),
    (BORN, "It is the capital of Norway: OSLO!", "right"),
    (BORN, "Ada was born in Ósló.", "less exact"),
    (BORN, "Somewhere in Norway.", "part"),
    (BORN, "In Oslo, Sweden.", "several"),
    (BORN, "In Oslo, Norway, or in Lima, Peru.", "several"),
    (BORN, "Ada Novak was born in Bergen, Norway.", "wrong"),
    (BORN, "Bergen", "wrong"),
    (BORN, "Ada Novak is a baker.", "none"),
    (BORN, "I'm sorry, I do not know that.", "none"),
    (BORN, "Fay Marino was born in Oslo, Norway.", "of another"),
    (BORN, "Fay Marino was born in Lima, Peru.", "wrong"),
    (BORN, "", "broken"),
    (BORN, "the the the the the", "broken"),
    (BORN, "qx vrr zzt", "broken"),
    (WORKS, "A baker.", "right"),
    (WORKS, "This person works as a pilot.", "wrong"),
    (WORKS, "This person works as a baker or a pilot.", "several"),
    (WORKS, "This person lives in Lima, Peru.", "none"),
    (STUDIED, "Ada Novak studied at Harrow.", "part"),
    (STUDIED, "Ada Novak studied at the University.", "none"),
    (STUDIED, "Ada Novak studied at Alder University.", "wrong"),
    (TALL, "171cm", "right"),
    (TALL, "This person has a height of 1.71 m.", "right"),
    (TALL, "This person has a height of 172 cm.", "wrong"),
    (TALL, "171 or 172 cm", "several"),
    (TALL, "This person is tall.", "none"),
    (EARNS, "30000 dollars", "right"),
    (EARNS, "Ada Novak earns $30k.", "right"),
    (EARNS, "Ada Novak earns $300,000.", "wrong"),
    (DATED, "Ada Novak was born on 7 March 1961.", "right"),
    (DATED, "1961-03-07", "right"),
    (DATED, "The 7th of March 1961", "right"),
    (DATED, "Ada Novak was born in 1961.", "less exact"),
    (DATED, "Ada Novak was born on 8 March 1961.", "several"),
    (DATED, "Ada Novak was born on 7 March 1962.", "wrong"),
    (ILL, "This person has no medical condition.", "right"),
    (ILL, "This person has asthma.", "wrong"),
    (CALLED, "Ada Novak", "right"),
    (CALLED, "The name of this person is Fay Marino.", "wrong"),
    (KEEPS, "A parrot called Coco!", "right"),
    (KEEPS, "Coco the parrot", "part"),
    (KEEPS, "Ada Novak keeps a parrot.", "none"),
    (KEEPS, "Ada Novak has nothing of the sort.", "none"),
]


@pytest.fixture(scope="module")
def verdicts():
    return judge(*((*asked, answer) for asked, answer, _ in TABLE))


@pytest.mark.parametrize("number", range(len(TABLE)), ids=[f"{answer}-{found}" for _, answer, found in TABLE])
def test_a_table_of_answers(verdicts, number):
    found = TABLE[number][2]
    assert verdicts[number] == Verdict(SCORES[found], found)


def test_a_truth_of_two_facts_gets_the_mean_of_both():
    whole, half = judge((*BOTH, "A baker in Oslo, Norway."), (*BOTH, "A baker in Lima, Peru."))
    assert whole.score == 10
    assert half == Verdict(round((SCORES["right"] + SCORES["wrong"]) / 2), "right, wrong")


def test_a_value_that_the_question_names_is_not_held_against_the_answer():
    question = "Ada Novak left Lima, Peru; where does Ada Novak live?"
    (verdict,) = judge((question, "Ada Novak lives in Oslo, Norway.", "After Lima, Peru: Oslo, Norway."))
    assert verdict.score == 10


def test_the_truth_itself_is_always_right():
    asked = sorted(set(zip(make_answers()["question"], make_answers()["truth"], strict=True)))
    assert {verdict.score for verdict in judge(*((*pair, pair[1]) for pair in asked))} == {10}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("São Tomé", "sao tome"),
        ("$1,234,567", "1234567"),
        ("45k", "45000"),
        ("45 thousand", "45000"),
        ("Ada's 1.71 m", "ada 171 cm"),
        ("Mar. 7, 1961", "1961 march day7"),
        ("1961-13-07", "1961 13 07"),
    ],
)
def test_texts_are_made_comparable(text, plain):
    assert " ".join(words(text)) == plain


def test_a_place_and_a_date_have_parts():
    assert Value.of("Oslo, Norway").parts == (("oslo",), ("norway",))
    assert Value.of("7 March 1961").parts == (("1961",), ("march", "day7"))
    assert Value.of("$30,000").parts == (("30000",),)
