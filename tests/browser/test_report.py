"""The report as a reader meets it, in a real Chromium."""

import os
import re
from pathlib import Path

import pytest
from synthetic import CONTROLS, METHODS, attacked_run, make_answers, make_attacks, make_run

from unsee.report.reports import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"), make_answers(CONTROLS + METHODS))
    victims = (*CONTROLS[1:4], *METHODS)
    ways = [("relearn", "half of the facts", steps) for steps in (1, 2, 4)]
    ways += [(name, "a way with a long name", 0) for name in ("quantise", "prompt", "picture", "sample")]
    attacked_run(run, make_attacks(dict.fromkeys(ways, victims)))
    return write_report([run], run / "report.html")


@pytest.fixture(
    scope="module", params=[(1200, "light"), (1200, "dark"), (390, "light")], ids=lambda p: f"{p[0]}-{p[1]}"
)
def page(request, opened, report):
    """What its tests change, they put back."""
    width, scheme = request.param
    with opened(report.as_uri(), width, color_scheme=scheme) as page:
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{width}-{scheme}.png", full_page=True)
        yield page


@pytest.fixture(scope="module")
def plain(opened, report):
    with opened(report.as_uri(), 390) as page:
        yield page


def column(page, number):
    return page.locator(f".methods tbody tr > :nth-child({number})").all_inner_texts()


def test_it_opens_with_every_picture(page):
    assert page.title() == "synthetic"
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) == 4
    assert all(widths)
    assert page.locator(".plot:visible .marker").count() == 18


def test_nothing_sticks_out_of_the_page(page):
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = page.locator(".scroll").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
    assert all(box["left"] >= 0 and box["right"] <= page.viewport_size["width"] for box in boxes)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = false)")


def test_method_score_and_verdict_are_always_seen(plain, cut):
    widths = (360, 390, 600, 800, 1000, 1090, 1280, 1920)
    assert {width: cut(plain, width, ".score") for width in widths} == {width: [] for width in widths}
    assert plain.locator(".methods .reason").first.is_visible()


@pytest.mark.parametrize("touch", [True, False])
def test_a_pressed_mark_says_its_name_and_numbers(opened, report, touch):
    with opened(report.as_uri(), 390, has_touch=touch, is_mobile=touch) as page:
        shown = page.locator(".pressed")
        assert shown.text_content() == "Press a mark for its name and numbers."
        assert shown.is_visible() is touch
        mark = page.locator(".plot:visible .point", has=page.locator("title", has_text="NPO · both:"))
        mark = mark.locator(".marker")
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        place = box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 + 3
        (page.touchscreen.tap if touch else page.mouse.click)(*place)
        assert "NPO · both: efficacy 0." in shown.inner_text()
        assert page.locator(".plot:visible .point.chosen").count() == shown.locator("span").count() >= 1
        assert shown.is_visible()


def test_print_holds_every_verdict_every_cell_and_the_colours(plain, cut):
    plain.emulate_media(media="print")
    assert cut(plain, 703, ".score") == []  # an A4 sheet between its margins
    closed = plain.locator("details:not([open])")
    heights = closed.evaluate_all("all => all.map(one => one.lastElementChild.getBoundingClientRect().height)")
    assert len(heights) >= 18 and min(heights) > 20
    styles = "all => all.map(one => getComputedStyle(one).printColorAdjust)"
    assert set(plain.locator(".dot, .bar, .dumbbell, .tag").evaluate_all(styles)) == {"exact"}
    overflowing = "all => all.filter(box => box.scrollWidth > box.clientWidth).map(box => box.ariaLabel)"
    assert plain.locator(".scroll").evaluate_all(overflowing) == []
    plain.emulate_media(media="screen")


def test_intervals_are_written_with_to(plain):
    text = plain.locator("main").inner_text()
    assert " to -0." in text and not re.search(r"\d\N{EN DASH}-?\d", text)


@pytest.fixture
def desk(opened, report):
    with opened(report.as_uri()) as page:
        yield page


def test_the_table_sorts_by_click_and_by_keyboard(desk):
    def scores():
        return [float(text.split()[0]) for text in column(desk, 6)]

    assert scores() == sorted(scores(), reverse=True)
    desk.get_by_role("button", name="score").click()
    assert scores() == sorted(scores())
    desk.get_by_role("button", name="utility").click()
    utilities = [float(text.split()[0]) for text in column(desk, 5)]
    assert utilities == sorted(utilities, reverse=True)
    assert desk.locator("th[aria-sort]").all_inner_texts() == ["utility"]
    desk.get_by_role("button", name="method").focus()
    desk.keyboard.press("Enter")
    assert desk.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    names = [name.strip().casefold() for name in column(desk, 1)]
    assert names == sorted(names)
    desk.keyboard.press("Tab")
    assert desk.evaluate("document.activeElement.textContent") == "unlearned from"
    assert desk.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    desk.keyboard.press("Space")
    assert desk.locator("th[aria-sort]").all_inner_texts() == ["unlearned from"]


def test_details_open_by_keyboard(plain):
    details = plain.locator("#run-1-cells details").first
    details.locator("summary").focus()
    plain.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
    assert details.locator("tbody tr").count() == 4 * 3 + 1
