"""A server to ask, and a run to judge."""

from __future__ import annotations

import shutil

import chat_server
import pytest
from synthetic import CONTROLS, make_answers, make_run

from unsee.judge.judging import open_docket


@pytest.fixture
def server():
    with chat_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def _run(tmp_path_factory):
    answers = make_answers(CONTROLS[:2], people=2, kept_people=1, items=4)
    return make_run(tmp_path_factory.mktemp("run") / "run", answers)


@pytest.fixture
def run(tmp_path, _run):
    return shutil.copytree(_run, tmp_path / "run")


@pytest.fixture
def docket(run):
    return open_docket(run)
