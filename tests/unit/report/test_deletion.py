import numpy as np
import pandas as pd
import pytest

from unsee.core.record import Record
from unsee.report.deletion import compare, rows, write_request_report


def answers(after_probability=0.1, people=6, text="an answer"):
    """Two rows a person and input, and ten general questions, before and after."""
    rng = np.random.default_rng(0)
    rows = []
    for model, probability in (("before", 0.9), ("after", after_probability)):
        for set_name, count in (("forget", people), ("retain", people)):
            for person in range(count):
                for kind in ("image", "text"):
                    value = probability if set_name == "forget" else 0.9
                    rows += [
                        _row(model, set_name, person, kind, item, value + rng.uniform(-0.05, 0.05), text)
                        for item in range(2)
                    ]
        rows += [_general(model, item) for item in range(10)]
    return pd.DataFrame(rows)


def _row(model, set_name, person, kind, item, probability, text):
    known = probability > 0.5
    return {
        "method": model, "set": set_name, "task": "generation", "input": kind, "unit": f"{set_name}{person}",
        "item": f"{set_name}/{person}/{kind}/{item}", "question": "Where?", "truth": f"secret {person} {item}",
        "answer": f"secret {person} {item}" if known else f"{text} {person} {item}", "options": [], "valid": True,
        "chance": np.nan, "accuracy": float(known), "rouge_l": 1.0 if known else 0.3, "probability": probability,
    }  # fmt: skip


def _general(model, item):
    return {
        "method": model, "set": "general", "task": "classification", "input": "text", "unit": f"g{item}",
        "item": f"g{item}", "question": "?", "truth": "a", "answer": "ab"[item == 0], "options": ["a", "b", "c", "d"],
        "valid": True, "chance": 0.25, "accuracy": float(item > 0), "rouge_l": np.nan, "probability": 0.5,
    }  # fmt: skip


def figure(outcome, *key):
    (found,) = [f for f in outcome.figures if (f.set, f.input, f.metric) == key]
    return found


def test_before_after_and_the_change_between_them():
    outcome = compare(answers(), 200)
    gone = figure(outcome, "forget", "image", "probability")
    assert gone.before.value == pytest.approx(0.9, abs=0.03) and gone.after.value == pytest.approx(0.1, abs=0.03)
    assert gone.change.value == pytest.approx(gone.after.value - gone.before.value)
    assert gone.change.low <= gone.change.value <= gone.change.high < -0.7
    assert (gone.n_units, gone.n_items) == (6, 12)
    kept = figure(outcome, "retain", "text", "accuracy")
    assert kept.before == kept.after and kept.change.value == 0
    assert figure(outcome, "general", "text", "accuracy").after.value == 0.9
    assert not [f for f in outcome.figures if f.set == "general" and f.metric == "probability"]
    assert outcome.collapsed is None


def test_a_broken_model_is_reported_as_broken():
    broken = answers()
    broken.loc[(broken["method"] == "after") & (broken["task"] == "generation"), "answer"] = "zzt zzt zzt"
    assert "repetitive" in compare(broken, 100).collapsed
    broken["answer"] = broken["answer"].where(broken["task"] != "generation", "zzt zzt zzt")
    assert compare(broken, 100).collapsed is None  # it was like that before


def test_the_page_claims_no_more_than_was_measured(tmp_path):
    record = Record.create(tmp_path / "request", 'forget = "f.jsonl"\n')
    outcome = compare(answers(), 100)
    page = write_request_report(record, "npo on nano", outcome).read_text()
    assert "Asked with the photo, the model gives the answers to be forgotten with a probability of 0." in page
    assert "That the model is as if it had never seen the people" in page
    assert "may be chance" not in page and "The model broke" not in page
    assert "secret" not in page and "http" not in page.replace('http-equiv="', "")
    assert page.count("<tr") == len(outcome.figures) + 1
    broken = outcome.model_copy(update={"collapsed": "70% of its answers are empty"})
    assert "The model broke: 70%" in write_request_report(record, "x", broken).read_text()


def test_a_change_that_may_be_chance_and_few_people_are_said_so(tmp_path):
    record = Record.create(tmp_path / "request", "")
    unchanged = write_request_report(record, "x", compare(answers(after_probability=0.9), 100)).read_text()
    assert "This may be chance" in unchanged
    alone = compare(answers(people=1), 100)
    assert "That is one person: with fewer than 5" in write_request_report(record, "x", alone).read_text()
    assert "That is 4 people" in write_request_report(record, "x", compare(answers(people=4), 100)).read_text()
    texts = {row.before for row in rows(alone) if row.set != "general"}
    assert texts and not [text for text in texts if "[" in text]


def test_the_table_and_the_file(tmp_path):
    record = Record.create(tmp_path / "request", "")
    outcome = compare(answers(), 100)
    outcome.save(record, "request.json")
    saved = record.read_json("request.json")
    assert saved["schema"] == "unsee.request/2" and len(saved["figures"]) == len(rows(outcome)) == 13
    assert [row.set for row in rows(outcome)] == ["forget"] * 6 + ["retain"] * 6 + ["general"]
