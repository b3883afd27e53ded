"""The page of a deletion request, in a real Chromium."""

import pytest

from unsee.core.record import Record
from unsee.report.deletion import write_request_report
from unsee.scoring.intervals import Estimate
from unsee.scoring.outcome import BeforeAfter, KeptOutcome, Outcome, PersonOutcome, RequestFiling, RowOutcome


def number(value):
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


FIGURES = [
    BeforeAfter(
        set=name, input=kind, metric=metric, before=number(0.9), after=number(0.2), change=number(-0.7),
        n_units=people, n_items=12,
    )
    for name, people in (("forget", 5), ("retain", 1))
    for kind in ("image", "text")
    for metric in ("probability", "rouge_l", "accuracy")
]  # fmt: skip
VALUES = {"ways": 12, "before": 12, "after": 3, "partly": 1, "guessed": 1}
BROKEN = {"garbled": 2, "same": 0, "names": 1}
OUTCOME = Outcome(
    verdict="broke", broke=["3 of 12 answers about person 1 are broken"], figures=FIGURES, collapsed=None,
    people=[PersonOutcome(person=n, lines="1-2", broken=BROKEN, any_broken=3, **VALUES) for n in range(1, 6)],
    rows=[RowOutcome(person=1 + n // 2, line=n + 1, **VALUES) for n in range(10)],
    kept=KeptOutcome(people=1, questions=12, before=0.9, after=0.8, any_broken=0),
    filing=RequestFiling(
        reference="17", finished="2026-01-31T12:00:00+00:00", version="1", method="ignorance", model="/a/model",
        rows={"forget.jsonl": "a" * 64}, model_before="c" * 64, model_after={"model.safetensors": "d" * 64}, steps=20,
        most_steps=200, outside=1,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    record = Record.create(tmp_path_factory.mktemp("request") / "out", 'forget = "forget.jsonl"')
    return write_request_report(record, OUTCOME)


@pytest.mark.parametrize("width", [1200, 390])
def test_it_opens_quietly_and_fits(opened, report, width):
    with opened(report.as_uri(), width) as page:
        page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
        assert page.title() == "Deletion request 17"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("#change tbody tr").count() == 12
        assert page.locator("#change tbody small").count() == 6 * 3  # one person has no interval
        assert page.locator("#people tbody tr").count() == 6 and page.locator("#rows tbody tr").count() == 10


def test_no_column_is_cut_on_a_desk_or_on_paper(opened, report):
    with opened(report.as_uri(), 1280) as page:
        cut = "all => all.filter(box => box.scrollWidth > box.clientWidth).map(box => box.ariaLabel)"
        assert page.locator(".scroll").evaluate_all(cut) == []
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 703, "height": 844})  # an A4 sheet between its margins
        assert page.locator(".scroll").evaluate_all(cut) == []
        heights = "all => all.map(one => one.lastElementChild.getBoundingClientRect().height)"
        assert min(page.locator("details:not([open])").evaluate_all(heights)) > 20
