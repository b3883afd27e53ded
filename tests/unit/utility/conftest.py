"""A folder of each benchmark."""

from __future__ import annotations

import chat_server
import pytest
from benchmark_files import WRITERS


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """By name."""
    return {name: write(tmp_path_factory.mktemp("utility") / name) for name, write in WRITERS.items()}


@pytest.fixture
def server():
    with chat_server.running() as server:
        yield server
