"""The cache cannot lie: whatever of it is damaged is named, put aside and computed again, with the same results."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import exams
import privacy
import pytest
import tiny
import torch
from damage import DAMAGES
from safetensors.torch import load_file

from unsee.config.recipe import DataConfig, ModelConfig, PrivacyConfig, TeachConfig, UnlearnConfig
from unsee.core import files
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.data.documents.source import open_documents
from unsee.methods import METHODS
from unsee.runs.method_runs import Material, MethodRun
from unsee.runs.people import benchmark_of
from unsee.runs.replay import replay
from unsee.runs.stages import Stages
from unsee.runtime.cache import KINDS, Cache

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kept:
    """Files of the cache.

    Attributes:
        pattern: finds one of them.
        without: of these kinds there is nothing, so that the file is read.
    """

    pattern: str
    without: tuple[str, ...] = ()


EVERY_KIND = {
    "weights": Kept("weights/*.safetensors"),
    "own answers": Kept("written/*.json", without=("weights",)),
    "cost of weights": Kept("weights/*.json"),
    "edit": Kept("edits/*.safetensors"),
    "cost of an edit": Kept("edits/*.json"),
    "answers": Kept("answers/*.parquet"),
    "change": Kept("changes/*.json"),
    "moment": Kept("moments/*.safetensors", without=("edits",)),
    "features": Kept("features/*.safetensors", without=("edits", "answers")),
    "data": Kept("data/*/Full_Set/*.parquet"),
    "documents": Kept("documents/*/images/*/*.png"),
}


def everything(folder: Path) -> dict[str, Any]:
    """Everything that the cache can hold, computed or read from it, as a run does."""
    record, cache = Record(folder), Cache(folder)
    settings = ModelConfig(id=str(folder.parent / "model"), dtype="float32", trainable="lora", lora_rank=4)
    stages = Stages(tiny.VLM.load_as(settings), settings, record, Silent(), replay)
    teach = TeachConfig(steps=2, batch_tokens=300, learning_rate=1e-2, replay=0.5)
    target = stages.teach("target", exams.BENCHMARK.forget, teach, 0)
    rome = METHODS.get("rome")(texts=str(folder.parent / "texts.txt"), value_steps=2)
    material = Material(("Anna",), [], [], lambda *_: privacy.make_pairs(1), UnlearnConfig())
    edited = stages.apply(MethodRun("rome", "", 0, rome), target, material)
    answers = stages.examine("rome", edited, exams.make_exam(stages.vlm))
    return {
        "weights": _digest(load_file(target.files[-1])),
        "edit": _digest(load_file(edited.edit)),
        "answers": answers.to_json(),
        "change": stages.change(target, edited),
        "costs": [bool(stages.cost(weights)) for weights in (target, edited)],
        "data": benchmark_of(DataConfig(people=7, celebrities=1), cache, Silent()).fingerprint,
        "documents": open_documents(PrivacyConfig(images=1), cache, Silent()).fingerprint(),
    }


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    content = b"".join(name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(tensors.items()))
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a full cache, and what was computed."""
    folder = tmp_path_factory.mktemp("kept")
    tiny.save_model(folder / "model")
    (folder / "texts.txt").write_text("\n".join(tiny.ANSWERS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEE_CACHE", str(folder / "cache"))
        return folder, everything(folder / "run")


def test_every_kind_of_the_cache_is_kept_with_a_checksum_and_private(finished):
    folder, _ = finished
    assert {path.name for path in (folder / "cache").iterdir()} == {*KINDS, "owners", "locks"}
    for kind in KINDS:
        kept = [path for path in (folder / "cache" / kind).iterdir() if path.suffix != ".sha256"]
        assert kept
        assert all(files.intact(path) for path in kept)
    for path in (folder / "cache", *(folder / "cache").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


TOGETHER = {
    "what is read first": ("weights", "edit"),
    "what is read beside it": ("cost of weights", "cost of an edit", "answers", "change", "data", "documents"),
    "what is read if something else is missing": [kind for kind, kept in EVERY_KIND.items() if kept.without],
}
"""Kinds of which each is read although the others are damaged."""


@pytest.mark.parametrize(
    "damages",
    [
        *(pytest.param(dict(zip(kinds, cycle(DAMAGES))), id=name) for name, kinds in TOGETHER.items()),
        *(
            pytest.param({kind: damage}, id=f"{kind} {damage.__name__}", marks=pytest.mark.soak)
            for kind in EVERY_KIND
            for damage in DAMAGES
        ),
    ],
)
def test_what_is_damaged_is_named_put_aside_and_computed_again(finished, tmp_path, monkeypatch, caplog, damages):
    folder, expected = finished
    cache = tmp_path / "cache"
    shutil.copytree(folder / "cache", cache)
    monkeypatch.setenv("UNSEE_CACHE", str(cache))
    found = {next(cache.glob(EVERY_KIND[kind].pattern)): damage for kind, damage in damages.items()}
    for damaged, damage in found.items():
        damaged.write_bytes(damage(damaged.read_bytes()))
    for other in {other for kind in damages for other in EVERY_KIND[kind].without}:
        shutil.rmtree(cache / other)
    assert everything(folder / "run") == expected
    for damaged in found:
        kept = cache.joinpath(*damaged.relative_to(cache).parts[:2])
        assert f"{kept}: damaged; put aside as {kept.name}.damaged and computed again" in caplog.text
        assert kept.with_name(kept.name + ".damaged").exists()
        assert files.intact(kept)


def test_what_an_earlier_version_kept_without_checksums_is_computed_again_in_silence(
    finished, tmp_path, monkeypatch, caplog
):
    folder, expected = finished
    shutil.copytree(folder / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.sha256"))
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    assert everything(folder / "run") == expected
    assert not caplog.text
