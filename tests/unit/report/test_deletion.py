"""The page of a deletion request in planted cases."""

import pytest

from unsee.core.errors import RecordError
from unsee.core.record import Record
from unsee.report.deletion import rows, sentences, write_request_report
from unsee.report.reports import write_again
from unsee.scoring.intervals import Estimate
from unsee.scoring.outcome import BeforeAfter, KeptOutcome, Outcome, PersonOutcome, RequestFiling, RowOutcome


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
    page = write_request_report(record, made).read_text()
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
    page = write_request_report(Record.create(tmp_path / "request", ""), made).read_text()
    assert page.count("<tr") == len(made.figures) + len(made.people) + 1 + len(made.rows) + 3
    assert "In 1 of 2 rows the model gave no value before" in page


def test_the_file(tmp_path):
    record = Record.create(tmp_path / "request", "")
    outcome().save(record, "request.json")
    assert record.read_json("request.json")["schema"] == "unsee.request/3"
    assert Outcome.load(record.folder, "request.json") == outcome()


FILING = RequestFiling(
    reference="2026/17", finished="2026-01-31T12:00:00+00:00", version="1.2.3", method="ignorance",
    model="/home/me/model",
    rows={"forget.jsonl": "a" * 64, "retain.jsonl": "b" * 64}, model_before="c" * 64,
    model_after={"model.safetensors": "d" * 64}, steps=20, most_steps=200, outside=2,
)  # fmt: skip


def test_the_page_can_be_filed(tmp_path):
    record = Record.create(tmp_path / "request", 'forget = "/home/me/f.jsonl"\n')
    made = outcome().model_copy(update={"filing": FILING})
    made.save(record, "request.json")
    page = write_request_report(record, made).read_text()
    facts = [
        "2026/17",
        FILING.finished,
        "unsee 1.2.3",
        "ignorance",
        *(letter * 64 for letter in "abcd"),
        "forget.jsonl",
    ]
    assert not [fact for fact in facts if fact not in page]
    assert "<title>Deletion request 2026/17</title>" in page
    assert "Training ended after 20 of 200 steps, when no value was given any more and no answer" in page
    assert "2 pictures lie outside the folder of the rows" in page and "To undo the request" in page
    redacted = write_again(record.folder, None, redact=True)
    assert redacted.name == "report-redacted.html"
    text = redacted.read_text()
    assert "/home/me" in page and "/home/me" not in text and str(tmp_path) not in text
    assert not [fact for fact in facts if fact not in text]


def test_a_page_of_another_ending_is_refused(tmp_path):
    record = Record.create(tmp_path / "request", "")
    with pytest.raises(RecordError, match=r"x\.md: the page of a deletion request is an \.html file"):
        write_request_report(record, outcome(), tmp_path / "x.md")
