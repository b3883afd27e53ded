"""A command killed at a random moment and given again ends with the same results, and nothing stray is left.

`make soak` kills a run on two workers five times (the command or one of the workers), quick commands once or twice.
`UNSEE_KILLS=8` kills every command eight times, at other moments with another `UNSEE_KILLS_SEED`:

    UNSEE_KILLS=8 python -m pytest tests/integration/test_kills.py -m soak -s
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path

import benchmark_files
import psutil
import pytest
import tiny
from integration.command import Command, Finished, unsee
from leftovers import files_in
from safetensors import safe_open

from unsee.core import files
from unsee.runtime.cache import KINDS

pytestmark = pytest.mark.soak

KILLS, SEED = int(os.environ.get("UNSEE_KILLS", 0)), os.environ.get("UNSEE_KILLS_SEED", "0")
OFTEN = {"build": 2, "privacy build": 2, "judge": 1, "utility": 1, "run on workers": 5}
COMMANDS = (*OFTEN, *(("run", "gate", "unlearn") if KILLS else ()))
TIMED = {"seconds", "peak_bytes", "finished"}
GATE = """
name = "killed"
privacy = { images = 1 }
unlearn = { batch_tokens = 600 }
evaluation = { general_items = 4, max_new_tokens = 2, bootstrap = 100 }

[method]
gate = { use = "neural_gate", layers = 0, epochs = 1, vector_steps = 2 }
npo = { steps = 2 }

[model]
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What the commands read: a model, a recipe, a benchmark and the rows of a deletion request."""
    folder = tmp_path_factory.mktemp("given")
    model = tiny.save_model(folder / "model")
    (folder / "gate.toml").write_text(f'{GATE}id = "{model}"\n')
    benchmark_files.pope(folder / "pope")
    for shade, name in enumerate(("forget", "retain")):
        tiny.photo(shade).save(folder / f"{name}.png")
        rows = [
            {"image": f"{name}.png", "question": question, "answer": answer, "person": name}
            for question, answer in tiny.FACTS.items()
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def words(given, request):
    """The words of a command without its folder."""

    def of(name):
        match name:
            case "build":
                return ["build", "--people", "20", "--celebrities", "2"]
            case "privacy build":
                return ["privacy", "build", "--images", "2"]
            case "judge":
                return ["judge"]
            case "utility":
                return ["utility", given / "model", "--benchmark", "pope", "--data", given / "pope", "--out"]
            case "gate":
                return ["run", given / "gate.toml", "--out"]
            case "unlearn":
                rows = ["--forget", given / "forget.jsonl", "--retain", given / "retain.jsonl"]
                few = ["--set", "evaluation.general_items=4", "--set", "method.npo.steps=4"]
                return ["unlearn", given / "model", *rows, "--method", "npo", *few, "--out"]
            case "run" | "run on workers":
                workers = "2" if "workers" in name else "1"
                few = ["--set", "teach.steps=8", "--set", "method.gradient_difference.steps=4"]
                return [*request.getfixturevalue("brief"), *few, "--workers", workers, "--out"]

    return of


def results(place: Path) -> dict[str, str]:
    """The content of every result by its name; without the time that stages took, and their log."""
    found = {}
    for path in sorted(place.glob("out/**/*")):
        if path.is_file() and path.name not in ("log.jsonl", "report.html", ".lock"):
            content = path.read_bytes()
            if path.suffix == ".json":
                content = repr(_without_times(json.loads(content))).encode()
            if path.suffix == ".safetensors":  # the library writes the metadata in any order
                with safe_open(path, "np") as file:
                    tensors = [(name, file.get_tensor(name).tobytes()) for name in sorted(file.keys())]
                    content = repr((sorted((file.metadata() or {}).items()), tensors)).encode()
            found[os.path.relpath(path, place)] = hashlib.sha256(content).hexdigest()
    return found


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if key not in TIMED}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def places(place: Path) -> set[str]:
    """The names of everything that the command left, in its folder, beside it and in the cache."""
    names = {name for name in files_in(place) if name not in ("cache.out", "cache.err")}
    return {name for name in names if not name.startswith("cache/owners")}  # named after the folder


def lines_in(log: Path) -> int:
    """The lines of a log; 0 if there is none yet."""
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def killed(
    command: list, cache: Path, log: Path, lines: int, moment: float, rng: random.Random
) -> tuple[str, Finished]:
    """Kill a command, or one of its workers, some seconds after its log has so many lines.

    Returns:
        What was killed, and how the command ended.
    """
    begun = Command(command, cache)
    while lines_in(log) < lines and begun.process.is_alive():
        begun.process.join(0.01)
    begun.process.join(moment)
    workers = begun.workers()
    victim = rng.choice([begun.process, *workers])
    with suppress(psutil.NoSuchProcess):
        victim.kill()
    return "a worker" if victim in workers else "the command", begun.finished()


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments_a_command_ends_as_if_it_never_was(name, words, tmp_path, request):
    start = request.getfixturevalue("finished")[0] if name == "judge" else None

    def new(number) -> tuple[Path, list]:
        place = tmp_path / str(number)
        place.mkdir()
        if start:
            shutil.copytree(start, place / "out")
        return place, [*words(name), place / "out"]

    undisturbed, command = new("undisturbed")
    started = time.monotonic()
    expected = unsee(command, undisturbed / "cache")
    seconds = time.monotonic() - started
    assert expected.code in (0, 3), expected.err
    events = lines_in(
        undisturbed / "out" / "log.jsonl"
    )  # a log tells the moments of a busy machine better than a clock
    moments = random.Random(f"{name} {SEED}")
    for number in range(KILLS or OFTEN[name]):
        place, command = new(number)
        lines, moment = moments.randint(0, events), moments.uniform(0, seconds / (events or 1))
        victim, ended = killed(command, place / "cache", place / "out" / "log.jsonl", lines, moment, moments)
        if victim == "a worker":
            assert ended.code == expected.code, ended.err
        left = places(place) - places(undisturbed)
        again = unsee(command, place / "cache")
        told = f"{name}: {victim} killed {moment:.2f} s after line {lines} of {events} (code {ended.code})"
        print(f"{told}, left {len(left)} files until then", flush=True)
        if again.code == 2 and "build" in name:  # the folder was whole before the kill
            assert "already exists and is not empty" in again.err
        else:
            assert again.code == expected.code, again.err
        assert "damaged" not in again.err
        assert results(place) == results(undisturbed)
        assert not places(place) - places(undisturbed)
        missing = {name for name in places(undisturbed) - places(place) if not name.startswith("cache/features")}
        assert not missing  # vision features are kept when a stage ends; what a journal answers needs none
        kept = [path for kind in KINDS for path in (place / "cache" / kind).glob("*") if path.suffix != ".sha256"]
        assert all(files.intact(path) for path in kept)
