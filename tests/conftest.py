"""What holds in every test: one thread, fixed seeds, no network."""

import os

# Before torch is imported: on tiny models its threads cost twenty times what they bring.
os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", UNSEE_WORKERS="1")

import gc
import random
import socket
import sys

import numpy as np
import pytest


def pytest_collection():
    gc.disable()


def pytest_collection_finish():
    """Collect garbage seldom, and never look through torch and transformers."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """Tests kill processes, but never cut the power; so they need not wait until a file is on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _fixed_seeds():
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)  # for GPUs, `torch.manual_seed` would format its stack each time


@pytest.fixture(scope="session")
def documents(tmp_path_factory):
    """A folder of invented documents, one picture for each subject and split, to read."""
    from unsee.data.documents.builder import build  # the process that shares out the tests needs no import

    folder = tmp_path_factory.mktemp("documents") / "data"
    build(folder, images=1)
    return folder


@pytest.fixture(autouse=True)
def _closed_sockets(monkeypatch):
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family == getattr(socket, "AF_UNIX", None) or address[0] in {"127.0.0.1", "::1"}:
            return connect(self, address)
        raise AssertionError(f"a test reached for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
