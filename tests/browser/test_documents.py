"""The page of a run about documents as a reader meets it, in a real Chromium."""

import pytest
from synthetic_documents import make_run

from unsee.report.reports import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"))
    return write_report([run], run / "report.html")


@pytest.fixture(scope="module", params=[1200, 390])
def page(request, opened, report):
    with opened(report.as_uri(), request.param) as page:
        yield page


def test_it_opens_with_every_picture(page):
    assert page.title() == "synthetic documents"
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) == 2 and all(widths)
    assert page.locator(".plot:visible .marker").count() == 5


def test_nothing_sticks_out_of_the_page(page):
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = false)")


def test_method_eta_and_verdict_are_always_seen_in_print_too(opened, report, cut):
    with opened(report.as_uri()) as page:
        assert [cut(page, width, "td:nth-of-type(1)") for width in (390, 800, 1090, 1280)] == [[]] * 4
        page.emulate_media(media="print")
        assert cut(page, 703, "td:nth-of-type(1)") == []
        heights = "all => all.map(one => one.lastElementChild.getBoundingClientRect().height)"
        assert min(page.locator("details:not([open])").evaluate_all(heights)) > 20


def test_the_table_sorts(page):
    def column(number):
        return page.locator(f".sortable tbody tr > :nth-child({number})").all_inner_texts()

    found = [float(text.split()[0]) for text in column(2)]
    assert found == sorted(found, reverse=True)
    page.get_by_role("button", name="leaked").click()
    leaked = [float(text.split()[0]) for text in column(4)]
    assert leaked == sorted(leaked, reverse=True)
