"""A server to ask, and a run to judge."""

from __future__ import annotations

import chat_server
import pytest
from synthetic import CONTROLS, make_answers, make_run

from unsee.judge.judging import open_docket


@pytest.fixture
def server():
    with chat_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def answers():
    return make_answers(CONTROLS[:2], people=3, kept_people=2, items=4)


@pytest.fixture
def run(tmp_path, answers):
    return make_run(tmp_path / "run", answers)


@pytest.fixture
def docket(run):
    return open_docket(run)
