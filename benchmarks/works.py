"""The works that are compared: for each how either side prepares and does it, and what both have to agree on."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks import ours
from benchmarks.material import Material
from benchmarks.published import editing, evaluation, unlearning
from unsee.config import ModelConfig, TeachConfig, UnlearnConfig
from unsee.data.pairs import by_case
from unsee.edits.above import down_name
from unsee.edits.sheet import make_sheet, queries
from unsee.evaluate import Exam
from unsee.methods import METHODS
from unsee.methods.base import Work as Editing
from unsee.methods.neural_gate import BENIGN_WORDS, NeuralGate
from unsee.models.vlm import VLM
from unsee.progress import Silent
from unsee.record import Record
from unsee.stages import Stages, key_of
from unsee.train import Scorer

SideName = Literal["published", "ours"]
Done = Callable[[], Any]
"""Does the work; what it returns is compared with what the other side returns."""

TOLERANCE = 1e-4
UNLEARNING = {
    "gradient_ascent": "one epoch of gradient ascent",
    "gradient_difference": "one epoch of gradient difference",
    "kl_minimisation": "one epoch of KL minimisation",
    "npo": "one epoch of NPO",
}
ADDED = ("gradient_ascent", "npo")
TEACH_STEPS, METHOD_STEPS = 40, 10


@dataclass(frozen=True)
class Work:
    """One kind of work.

    Attributes:
        name: as the table shows it.
        sides: for each side, how to get ready (model, data) for the part that is measured; what that returns does it.
        same: whether both sides returned the same.
        agreed: what has to be the same, in words.
    """

    name: str
    sides: dict[SideName, Callable[[Material], Done]]
    same: Callable[[Any, Any], bool]
    agreed: str


def works() -> dict[str, Work]:
    """All works by a short name."""
    found = {
        "evaluate-published": Work(
            "full evaluation, published protocol",
            {"published": partial(_evaluate_published, "published"), "ours": partial(_evaluate_ours, "published")},
            _same_texts, "every greedy answer",
        ),
        "evaluate-clean": Work(
            "full evaluation, clean protocol",
            {"published": partial(_evaluate_published, "clean"), "ours": partial(_evaluate_ours, "clean")},
            _same_scores, "every greedy answer, and every log-probability to 1e-4",
        ),
    }  # fmt: skip
    for name, title in UNLEARNING.items():
        sides: dict[SideName, Callable[[Material], Done]] = {
            "published": partial(_epoch_published, name),
            "ours": partial(_epoch_ours, name),
        }
        found[name] = Work(title, sides, _close, "the loss of every example before the first step, to 1e-4")
    found["edit"] = Work(
        "Neural Gate edit, clean",
        {"published": partial(_edit_published, "loss"), "ours": partial(_edit_ours, "clean")},
        _close, "the loss of every answer before the first step, to 1e-4",
    )  # fmt: skip
    found["edit-as-published"] = Work(
        "Neural Gate edit, the published steps",
        {"published": partial(_edit_published, "edit"), "ours": partial(_edit_ours, "reference")},
        _same_edit, "the gates, and the edited matrix to 1 % of what was added",
    )  # fmt: skip
    found["add-a-method"] = Work(
        "adding a method to a run",
        {"published": partial(_added, False), "ours": partial(_added, True)},
        _same_with_its_own_work,
        "the answers of all models, and that ours trained and examined the added one alone",
    )  # fmt: skip
    return found


def _evaluate_published(protocol: str, material: Material) -> Done:
    vlm, config = material.load(), material.evaluation(protocol)
    vlm.model.requires_grad_(False)
    asked = material.asked(vlm, protocol)
    return lambda: evaluation.evaluate(vlm, asked, config)


def _evaluate_ours(protocol: str, material: Material) -> Done:
    vlm, config, benchmark = material.load(), material.evaluation(protocol), material.benchmark
    vlm.model.requires_grad_(False)
    return lambda: ours.evaluate(vlm, benchmark, config)


def _epoch_published(method: str, material: Material) -> Done:
    vlm = material.load()
    forget, retain = (material.examples(vlm, side) for side in ("forget", "retain"))
    before = unlearning.losses(vlm, [*forget, *retain])
    return lambda: unlearning.epoch(vlm, method, forget, retain) or before


def _epoch_ours(method: str, material: Material) -> Done:
    vlm = material.load()
    people = {"forget": material.benchmark.forget, "retain": material.benchmark.retain}
    before = ours.losses(vlm, [*people["forget"], *people["retain"]])
    return lambda: ours.epoch(vlm, method, people) or before


def _edit_published(compared: Literal["loss", "edit"], material: Material) -> Done:
    vlm = material.load()
    pairs, layer = material.pairs(vlm), _layer(vlm)
    with torch.no_grad():
        rows = [editing.write(vlm, queries([pair], benign_words=BENIGN_WORDS)) for pair in pairs]
        before = sorted(loss for row in rows for loss in editing.answer_losses(vlm, row).tolist())

    def edit() -> Any:
        deltas, gates = editing.edit(vlm, pairs, [layer])
        delta = deltas[down_name(vlm, layer)].cpu()
        return before if compared == "loss" else (delta, {name: gate.cpu() for name, gate in gates.items()})

    return edit


def _edit_ours(mode: Literal["clean", "reference"], material: Material) -> Done:
    vlm = material.load()
    pairs, layer = material.pairs(vlm), _layer(vlm)
    method = NeuralGate(mode=mode, layers=str(layer))
    sheet = make_sheet(vlm, [queries(case, benign_words=BENIGN_WORDS) for case in by_case(pairs)])
    with torch.no_grad():
        scored = Scorer(vlm)(sheet.batch)
    before = sorted((-scored.log_probability_I / scored.length_I).tolist())

    def edit() -> Any:
        found = method.edit(vlm, pairs, Editing())
        gates = {name: gate.cpu() for name, gate in found.gates.items()}
        return before if mode == "clean" else (found.deltas[down_name(vlm, layer)].cpu(), gates)

    return edit


def _layer(vlm: VLM) -> int:
    """A third of the way up, as in the published choices."""
    return int(vlm.model.config.get_text_config().num_hidden_layers) // 3


def _added(cached: bool, material: Material) -> Done:
    """Target, oracle and two methods, of which only the second was never run before if `cached`."""
    folder = Path(tempfile.mkdtemp(dir=material.data.parent))  # gone when the people are
    os.environ["UNSEE_CACHE"] = str(folder / "cache")
    vlm = material.load()
    if cached:
        _teach_and_try(vlm, material, folder / "before", [ADDED[0]])
        vlm = material.load()
    return lambda: _teach_and_try(vlm, material, folder / "run", ADDED)


def _teach_and_try(
    vlm: VLM, material: Material, folder: Path, methods: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """The answers of every model, and which models were trained or examined for it."""
    record = Record.create(folder, 'name = "benchmark"\n')
    stages = Stages(vlm, ModelConfig(id=material.model, dtype="float32"), record, Silent())
    benchmark, config = material.benchmark, material.evaluation("clean")
    exam, key = Exam(vlm, benchmark, (), config), key_of("exam", benchmark.fingerprint, config.model_dump())
    teach, unlearn = TeachConfig(steps=TEACH_STEPS, replay=0.0), UnlearnConfig()
    target = stages.teach("target", (*benchmark.forget, *benchmark.retain), teach, 0)
    found = {"target": target, "oracle": stages.teach("oracle", benchmark.retain, teach, 1)}
    for name in methods:
        method = METHODS.get(name)(steps=METHOD_STEPS)
        found[name] = stages.unlearn(
            name, target, method, "both", benchmark.forget, benchmark.retain, unlearn, 0
        )  # fmt: skip
    answers = {name: stages.examine(name, weights, exam, key)["answer"].tolist() for name, weights in found.items()}
    return answers, [event["model"] for event in record.events() if event["event"] in ("trained", "evaluated")]


def _same_with_its_own_work(published: tuple[Any, list[str]], ours: tuple[Any, list[str]]) -> bool:
    return published[0] == ours[0] and ours[1] == [ADDED[1]] * 2


def _same_texts(published: dict[str, Any], ours: dict[str, Any]) -> bool:
    return {id: text for id, (text, _) in published.items()} == {id: text for id, (text, _) in ours.items()}


def _same_scores(published: dict[str, Any], ours: dict[str, Any]) -> bool:
    return _same_texts(published, ours) and all(_close(scores, ours[id][1]) for id, (_, scores) in published.items())


def _close(published: list[float], ours: list[float]) -> bool:
    return len(published) == len(ours) and all(
        math.isclose(one, other, abs_tol=TOLERANCE, rel_tol=TOLERANCE / 10)
        for one, other in zip(published, ours, strict=True)
    )


def _same_edit(published: tuple[Any, Any], ours: tuple[Any, Any]) -> bool:
    (delta, gates), (other, others) = published, ours
    same_gates = gates.keys() == others.keys() and all(torch.equal(gates[key], others[key]) for key in gates)
    return same_gates and bool((delta - other).norm() <= 0.01 * delta.norm())
