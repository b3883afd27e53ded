"""The server answers the page of this machine, and nobody else."""

import exams
import pytest
import tiny
from starlette.testclient import TestClient

from unsee.core.errors import ConfigError
from unsee.play.playground import Playground, Respondent
from unsee.play.server import make_app, take_port
from unsee.play.topics import people_topics

TOKEN = "secret"
HEADERS = {"X-Token": TOKEN}
PRIVATE = ("Anna", "Oslo", "cloze?", "data:image/png")


def client(**options):
    models = [Respondent(name="one", load=tiny.make_vlm)]
    playground = Playground(models, people_topics(exams.BENCHMARK), max_new_tokens=4, **options)
    return TestClient(make_app(playground, TOKEN), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def server():
    return client()


def test_the_page_loads_nothing_from_elsewhere(server):
    page = server.get("/", params={"token": TOKEN})
    policy = page.headers["content-security-policy"]
    assert page.status_code == 200 and "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "http" not in page.text.replace("http-equiv", "")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_the_token_nothing_is_told(server, token):
    answers = [
        server.get("/", params={"token": token}),
        server.get("/topics/0", headers={"X-Token": token}),
        server.post("/ask", json={"model": "one", "text": "Hi"}, headers={"X-Token": token}),
    ]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert not any(private in answer.text for answer in answers for private in PRIVATE)


def test_another_host_name_is_refused(server):
    assert server.get("/", params={"token": TOKEN}, headers={"Host": "evil.example"}).status_code == 400


def test_a_person_has_portrait_and_questions(server):
    person = server.get("/topics/0", headers=HEADERS).json()
    shown = person["pictures"][person["picture"]]
    assert shown.startswith("data:image/png") and len(set(person["pictures"])) == len(person["pictures"])
    kinds = [(one["kind"].partition(", ")[0], one["choice"], one["picture"] is not None) for one in person["asked"]]
    assert set(kinds) == {
        (task, task == "choice", with_picture)
        for task in ("choice", "sentence", "blank")
        for with_picture in (False, True)
    }
    assert all(one["with_picture"] == (one["picture"] is not None) for one in person["asked"])
    assert server.get("/topics/99", headers=HEADERS).status_code == 404


def test_a_model_is_asked(server):
    said = server.post("/ask", json={"model": "one", "topic": 0, "question": 0}, headers=HEADERS).json()
    assert set(said) == {"answers", "probability", "right", "refused", "leaked", "put"}


@pytest.mark.parametrize(
    "body", ['{"model": "two", "text": "Hi"}', '{"model": "one"}', "{", '{"model": "one", "text": "Hi", "more": 1}']
)
def test_a_bad_request_gets_a_sentence(server, body):
    answer = server.post("/ask", content=body, headers=HEADERS)
    assert answer.status_code == 400 and answer.json()["error"].startswith("play:")


def test_a_picture_that_is_too_large_is_refused(server):
    answer = server.post("/ask", content=b"0" * (33 * 2**20), headers=HEADERS)
    assert answer.status_code == 413


def test_a_port_that_is_taken_is_named():
    with take_port(0) as first, pytest.raises(ConfigError, match=r"--port \d+: Address already in use"):
        first.listen()
        take_port(first.getsockname()[1])


def test_a_redacted_page_tells_no_name_question_portrait_or_value():
    server = client(redact=True)
    page = server.get("/", params={"token": TOKEN}).text
    texts = [page, *(server.get(f"/topics/{number}", headers=HEADERS).text for number in range(6))]
    texts.append(server.post("/ask", json={"model": "one", "topic": 0, "question": 0}, headers=HEADERS).text)
    assert not any(private in text.replace("Where was this person born", "") for text in texts for private in PRIVATE)
