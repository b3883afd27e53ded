"""The playground in a real Chromium, with a real server and models that answer."""

import threading
from functools import partial

import exams
import pytest
import tiny
import uvicorn

from unsee.data.images import encode_png
from unsee.play.playground import Playground, Respondent
from unsee.play.server import make_app


@pytest.fixture(scope="module")
def address():
    models = [Respondent(name=name, load=partial(tiny.make_vlm, seed)) for seed, name in enumerate(("target", "npo"))]
    app = make_app(Playground(models, exams.BENCHMARK, max_new_tokens=4), "secret")
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    socket = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/?token=secret"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda made: requests.append(made.url))
    page.goto(address)
    page.wait_for_selector("#question option[value='0']", state="attached")
    yield page
    assert not complaints
    assert all(url.startswith(("http://127.0.0.1", "data:", "blob:")) for url in requests)
    page.close()


def ask(page):
    """Press the button, and return the newest card when all models have answered."""
    page.click("button.main")
    page.wait_for_selector(".asked td:not(.waiting)")
    page.wait_for_selector("button.main:enabled")
    return page.locator(".asked").first


def test_models_answer_side_by_side(page):
    assert page.locator("#portrait").is_visible()
    card = ask(page)
    assert card.locator("tbody th").all_text_contents() == ["target", "npo"]
    assert card.locator("meter").count() == 2 and card.locator(".waiting").count() == 0


def test_any_question_with_any_photo_under_an_attack(page):
    page.select_option("#person", "")
    assert page.locator("input[value='picture: noise']").is_disabled()
    page.set_input_files("#picture", {"name": "a.png", "mimeType": "image/png", "buffer": encode_png(tiny.photo(3))})
    page.fill("#text", "Who is <b>this</b>?")
    page.check("input[value='picture: noise']")
    page.uncheck("input[value='npo']")
    card = ask(page)
    assert card.locator("h2").text_content() == "Who is <b>this</b>?"
    assert card.locator("tbody th").all_text_contents() == ["target"] and card.locator("header img").count() == 1
    assert "picture: noise" in card.locator("header").text_content()


def test_a_card_shows_how_an_attack_put_the_question(page):
    page.fill("#text", "Who is it?")
    page.check("input[value='prompt: claim']")
    assert ask(page).locator(".put").inner_text().count("Who is it?") == 2
    page.check("input[value='as it is']")
    assert ask(page).locator(".put").is_hidden()


def test_the_newest_answers_come_first_and_what_cannot_be_asked_is_said(page):
    ask(page)
    page.select_option("#question", "1")
    ask(page)
    assert page.locator(".asked").count() == 2
    page.select_option("#question", "")
    page.click("button.main")
    assert "write one" in page.locator("#problem").text_content()


def test_a_card_is_about_the_person_that_is_chosen_even_if_answers_come_late(page):
    held = []
    page.route("**/people/3", lambda route: held.append(route))
    page.select_option("#person", "3")
    assert page.locator("button.main").is_disabled()
    page.select_option("#person", "1")
    page.wait_for_selector("button.main:enabled")
    held[0].continue_()
    page.wait_for_timeout(200)
    with page.expect_request("**/ask") as asked:
        ask(page)
    assert asked.value.post_data_json["person"] == 1


def test_what_fits_no_question_cannot_be_ticked(page):
    best = page.locator("input[value='sample: best of 10']")
    assert best.is_disabled() and page.locator("#shown").is_disabled()  # a choice of the data
    page.fill("#text", "Who is it?")
    assert best.is_enabled() and page.locator("#shown").is_enabled()


@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    ask(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
