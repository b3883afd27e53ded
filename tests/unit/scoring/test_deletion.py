"""The verdict on a deletion request in planted cases: done, still leaking, broken, and nothing known."""

import numpy as np
import pandas as pd
import pytest

from unsee.scoring.deletion import broken_around, compare, given_to_strangers, with_values
from unsee.scoring.values_given import value_words

pytestmark = pytest.mark.slow

PEOPLE = 3
NAMES = {f"{number:03}": name for number, name in enumerate(("Ann Bee", "Bo Cole", "Cy Dunn", "Di Eads", "Ed Fay"), 1)}
FACTS = {
    "Where does {} live?": ("Brno.", "Oslo.", "Lima.", "Cork.", "Rome."),
    "What does {} do?": ("A baker.", "A pilot.", "A nurse.", "A chef.", "A judge."),
    "What does {} like?": ("Golf.", "Chess.", "Tennis.", "Opera.", "Skiing."),
}
WRONG = ("Paris.", "A clerk.", "Yoga.")
"""What strangers get."""


def model(name, forgotten=None, kept=None, choices=9):
    """Answers of one model: the truth, or what the caller says instead for (person, row) or for every row."""
    rows = []
    for number, (unit, person) in enumerate(NAMES.items()):
        for line, (question, truths) in enumerate(FACTS.items(), 1):
            for set_name in ("forget", "test") if number < PEOPLE else ("retain",):
                for kind in ("image", "text"):
                    told = (forgotten if number < PEOPLE else kept) or (lambda number, line, truth: truth)
                    answer = told(number, line, truths[number])
                    item = f"{set_name}/{unit}-{line + 3 * number:04}/00-generation-{kind}"
                    rows.append(
                        _row(name, set_name, kind, unit, item, line, question.format(person), truths[number], answer)
                    )
    rows += [_choice(name, item, item < choices) for item in range(10)]
    return pd.DataFrame(rows)


def _row(name, set_name, kind, unit, item, line, question, truth, answer):
    return {
        "method": name, "set": set_name, "task": "generation", "input": kind, "unit": unit, "item": item, "line": line,
        "question": question, "truth": truth, "answer": answer, "options": [], "valid": True, "chance": np.nan,
        "accuracy": float(answer == truth), "rouge_l": float(answer == truth), "probability": 0.5,
    }  # fmt: skip


def _choice(name, item, is_right):
    return {
        "method": name, "set": "general", "task": "classification", "input": "text", "unit": f"g{item}",
        "item": f"g{item}", "line": 0, "question": "?", "truth": "a", "answer": "a" if is_right else "b",
        "options": ["a", "b", "c", "d"], "valid": True, "chance": 0.25, "accuracy": float(is_right),
        "rouge_l": np.nan, "probability": 0.5,
    }  # fmt: skip


def strangers(before):
    """Twenty strangers for each question about somebody to forget; they all get the wrong answers."""
    asked = before[before["set"].isin(["forget", "test"])]
    rows = [
        row
        | {
            "set": "stranger",
            "unit": row["item"],
            "item": f"celebrity/s{number:02}/0",
            "answer": WRONG[row["line"] - 1],
        }
        for row in asked.to_dict("records")
        for number in range(20)
    ]
    return pd.DataFrame(rows)


def wrong(number, line, truth):
    return WRONG[line - 1]


def outcome(after, before=None):
    before = model("before") if before is None else before
    unknown = strangers(before)
    asked = before[before["set"] != "general"]
    values = {
        f"{'retain' if row['set'] == 'retain' else 'forget'}/{row['item'].split('/')[1]}": value_words("", row["truth"])
        for row in asked.to_dict("records")
    }
    scored = [with_values(answers, values, unknown) for answers in (before, after)]
    return compare(pd.concat([*scored, unknown]), NAMES, 100)


def test_done():
    found = outcome(model("after", forgotten=wrong))
    assert (found.verdict, found.broke) == ("done", [])
    assert (found.total.ways, found.total.before, found.total.after) == (36, 36, 0)
    assert [(person.lines, person.ways, person.before) for person in found.people] == [
        ("1-3", 12, 12), ("4-6", 12, 12), ("7-9", 12, 12),
    ]  # fmt: skip
    assert [row.line for row in found.rows] == list(range(1, 10))
    assert (found.kept.before, found.kept.after) == (1, 1)


def test_one_value_of_one_person_still_leaks():
    found = outcome(model("after", lambda number, line, truth: truth if (number, line) == (1, 2) else WRONG[line - 1]))
    assert (found.verdict, found.broke) == ("leaks", [])
    assert [person.after for person in found.people] == [0, 4, 0]
    assert [row.line for row in found.rows if row.after] == [5]


def test_values_that_strangers_got_before_are_guesses():
    before = model("before", lambda number, line, truth: truth if line < 3 else "Yoga.")
    before.loc[before["unit"] == "001", "truth"] = before["truth"].replace("Golf.", "Yoga.")
    after = model("after", forgotten=wrong).assign(truth=before["truth"].to_numpy())
    found = outcome(after, before)
    assert (found.verdict, found.people[0].before, found.people[0].guessed) == ("done", 8, 4)


def test_what_a_stranger_gets_counts_for_nothing_where_it_is_a_guess():
    before = model("before")
    unknown = strangers(before)
    row, who = unknown["unit"].str.contains("001-0001"), unknown["item"].str.split("/").str[1]
    values = {f"forget/{item.split('/')[1]}": value_words("", "Brno.") for item in unknown["unit"]}
    told = unknown.assign(answer=unknown["answer"].mask(row & (who == "s03"), "Brno."))
    given = given_to_strangers(values, told)
    assert (given.loc["001-0001", "s03"], given.to_numpy().sum()) == (4, 4)
    told = unknown.assign(answer=unknown["answer"].mask(row & (who < "s03"), "Brno."))
    assert given_to_strangers(values, told).to_numpy().sum() == 0


def test_answers_that_broke_are_left_to_do():
    before = pd.concat([known := model("before"), strangers(known)])
    garbled = model("after", lambda number, line, truth: "Tur Tur Tur Tur" if number == 2 else WRONG[line - 1])
    assert broken_around(before, model("after", wrong), NAMES) == 0
    assert broken_around(before, garbled, NAMES) == 12
    one = model("after", wrong)
    one.loc[0, "answer"] = "Tur Tur Tur Tur"
    assert broken_around(before, one, NAMES) == 1


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (lambda number, line, truth: "Tur Tur Tur Tur" if number == 2 else WRONG[line - 1], "garbled"),
        (lambda number, line, truth: "Edgar." if number == 2 else WRONG[line - 1], "same"),
        (lambda number, line, truth: "Cole likes it." if number == 2 else WRONG[line - 1], "names"),
    ],
)
def test_broken_around_one_person(broken, kind):
    found = outcome(model("after", broken))
    assert found.verdict == "broke" and found.collapsed is None
    assert [person.any_broken for person in found.people] == [0, 0, 12]
    assert found.people[2].broken[kind] == 12
    (sentence,) = found.broke
    assert sentence.startswith("12 of 12 answers about person 3 are broken")
    was = model("before", broken)
    assert outcome(model("after", broken), was).verdict != "broke"  # it was like that before


def test_people_to_keep_who_are_lost_are_damage():
    found = outcome(model("after", wrong, kept=wrong))
    assert found.verdict == "broke" and found.kept.after == 0
    assert "gives 0% of the values of the people to keep, and gave 100% before" in found.broke[0]


def test_a_model_that_answers_nothing_about_anybody_is_broken():
    mute = model("after", lambda *_: "", kept=lambda *_: "")
    found = outcome(mute)
    assert found.verdict == "broke" and "empty" in found.collapsed


def test_nothing_was_known():
    found = outcome(model("after", wrong), model("before", wrong))
    assert (found.verdict, found.total.before) == ("not known", 0)


def test_figures_before_and_after_and_the_change_between_them():
    found = outcome(model("after", forgotten=wrong, choices=8))
    (gone,) = [f for f in found.figures if (f.set, f.input, f.metric) == ("forget", "image", "accuracy")]
    assert (gone.before.value, gone.after.value, gone.change.value) == (1, 0, -1)
    assert (gone.n_units, gone.n_items) == (3, 9) and not gone.has_interval
    (general,) = [f for f in found.figures if f.set == "general"]
    assert (general.metric, general.before.value, general.after.value) == ("accuracy", 0.9, 0.8)
    assert {f.set for f in found.figures} == {"forget", "test", "retain", "general"}
