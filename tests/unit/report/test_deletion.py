"""The page of a deletion request in planted cases."""

import pytest

from unsee.core.record import Record
from unsee.report.deletion import rows, sentences, write_request_report
from unsee.scoring.deletion import BeforeAfter, KeptOutcome, Outcome, PersonOutcome, RowOutcome
from unsee.scoring.intervals import Estimate


def outcome(verdict="done", after=0, partly=0, guessed=0, broken=0, broke=(), people=1):
    """Two rows of each of some people, asked in ten ways each."""
    figures = [
        BeforeAfter(
            set=name, input=kind, metric=metric, before=number(0.9), after=number(0.2), change=number(-0.7),
            n_units=6, n_items=12,
        )
        for name in ("forget", "test", "retain")
        for kind in ("image", "text")
        for metric in ("probability", "rouge_l", "accuracy")
    ]  # fmt: skip
    values = {"ways": 20, "before": 18, "after": after, "partly": partly, "guessed": guessed}
    return Outcome(
        verdict=verdict, broke=list(broke), figures=figures, collapsed=None,
        people=[
            PersonOutcome(
                person=n, lines="1-2", any_broken=broken, broken={"garbled": broken, "same": 0, "names": 0}, **values
            )
            for n in range(1, people + 1)
        ],
        rows=[
            RowOutcome(person=1, line=line, **values | {"before": 18 * (line > 1)}) for line in (1, 2)
        ],
        kept=KeptOutcome(people=5, questions=70, before=0.88, after=0.86, any_broken=0),
    )  # fmt: skip


def number(value):
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


@pytest.mark.parametrize(
    ("made", "first", "said"),
    [
        (outcome(), "Done: ", "gave the value in 18 before, and gives it in none now."),
        (outcome(guessed=2), "Done: ", "2 more answers hold a value that the model also gives people"),
        (outcome("leaks", 5, 1), "Not done: the model still gives values", "in 5 now (1 of them only a part)."),
        (outcome("broke", broken=9, broke=["9 of 20 answers about person 1 are broken (9 garbled)"]),
         "Not done: the model broke.", "9 of 20 answers about person 1 are broken (9 garbled)."),
        (outcome("not known"), "Nothing was there to forget: ", "Check that this is the right model"),
    ],
)  # fmt: skip
def test_the_page_opens_with_the_verdict_in_plain_words(made, first, said, tmp_path):
    record = Record.create(tmp_path / "request", 'forget = "f.jsonl"\n')
    page = write_request_report(record, "npo on nano", made).read_text()
    spoken = sentences(made)
    assert spoken[0].startswith(first) and said in " ".join(spoken)
    opening = page[page.index('class="verdict"') :]
    assert first in opening[:90] and all(sentence in page for sentence in spoken)
    assert "That the model is as if it had never seen the people" in page
    assert "http" not in page.replace('http-equiv="', "")


def test_a_row_for_each_person_and_for_the_people_to_keep(tmp_path):
    made = outcome("leaks", 5, people=2)
    assert [(row.people, row.before, row.now, row.broken) for row in rows(made)] == [
        ("person 1", "18", "5", "0"), ("person 2", "18", "5", "0"), ("5 to keep", "88%", "86%", "0"),
    ]  # fmt: skip
    page = write_request_report(Record.create(tmp_path / "request", ""), "x", made).read_text()
    assert page.count("<tr") == len(made.figures) + len(made.people) + 1 + len(made.rows) + 3
    assert "In 1 of 2 rows the model gave no value before" in page


def test_the_file(tmp_path):
    record = Record.create(tmp_path / "request", "")
    outcome().save(record, "request.json")
    assert record.read_json("request.json")["schema"] == "unsee.request/3"
    assert Outcome.load(record.folder, "request.json") == outcome()
