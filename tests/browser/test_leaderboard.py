"""The leaderboard in a real Chromium: filters, and the way from a number to its run."""

import pytest
import synthetic_documents
from synthetic import CONTROLS, METHODS, make_answers, make_run

from unsee.report.leaderboard import write_leaderboard


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    runs = [make_run(folder / f"run-{n}", make_answers((*CONTROLS, METHODS[0], METHODS[1]))) for n in range(2)]
    config = runs[1] / "config.toml"
    config.write_text(config.read_text().replace("forget_percent = 15", "forget_percent = 5"))
    return write_leaderboard(runs, folder / "board.html")


@pytest.fixture
def page(opened, board):
    with opened(board.as_uri()) as page:
        yield page


def test_filters_hide_rows_and_their_marks(page):
    rows, marks = page.locator("#board tbody tr:visible"), page.locator("#board .plot:visible .point:not(.gone)")
    every, drawn = rows.count(), marks.count()
    page.select_option("[data-filter=data]", "60 invented, 5 %")
    assert rows.count() == every // 2 and marks.count() == drawn // 2
    page.uncheck("#controls")
    assert not page.locator("#board tbody tr.control:visible").count() and rows.count() >= 1
    assert f"{rows.count()} of {every} rows" == page.locator("#count").text_content()
    page.select_option("[data-filter=data]", "")
    page.check("#controls")
    assert (rows.count(), marks.count()) == (every, drawn)


def test_a_method_leads_to_its_run_with_recipe_and_answers(page):
    last = page.locator("#board tbody tr[data-data='60 invented, 5 %'] a").first
    last.click()
    run = page.locator("details.run[open]")
    assert run.count() == 1 and run.get_attribute("id") == "run-2"
    assert run.locator(".person").count() >= 1 and "forget_percent = 5" in run.locator("pre").last.text_content()


@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1200, 390])
def test_one_of_runs_about_documents_works_alike(opened, tmp_path, width):
    runs = [synthetic_documents.make_run(tmp_path / name, source=name) for name in ("passports", "plates")]
    with opened(write_leaderboard(runs, tmp_path / "board.html").as_uri(), width) as page:
        rows = page.locator("#board tbody tr:visible")
        every = rows.count()
        page.select_option("[data-filter=data]", "plates")
        shown = page.locator("#board .plot:visible .point:not(.gone)").count()
        assert rows.count() == every // 2 and shown == every // 2
        rows.locator("a").first.click()
        assert page.locator("details.run[open] .person").count() >= 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
