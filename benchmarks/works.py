"""The works to compare: how each side prepares and does them, and which results both sides must agree on."""

from __future__ import annotations

import copy
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from benchmarks import ours
from benchmarks.material import Material
from benchmarks.published import editing, evaluation, unlearning
from benchmarks.published.unlearning import Steps
from unsee.config.recipe import ModelConfig, TeachConfig, UnlearnConfig
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.data.pairs import PrivacyPair
from unsee.edits.pair_rows import queries
from unsee.edits.partial_forward import down_name
from unsee.exams.people import Exam
from unsee.methods import METHODS
from unsee.methods.base import Side
from unsee.methods.base import Work as Editing
from unsee.methods.neural_gate_published import BENIGN_WORDS
from unsee.models.vlm import VLM
from unsee.runs.method_runs import Material as MethodData
from unsee.runs.method_runs import MethodRun
from unsee.runs.stages import Stages
from unsee.runtime.cache import key_of

SideName = Literal["published", "ours"]
Collect = Callable[[], Any]
"""Returns the answers of the work, for comparison with the other side's. It is called after the clock has stopped."""
Job = Callable[[], Collect]
"""Does the work."""

TOLERANCE, WIDER = 1e-4, 1e-3
UNLEARNING = {
    "gradient_ascent": "gradient ascent",
    "gradient_difference": "gradient difference",
    "kl_minimisation": "KL minimisation",
    "npo": "NPO",
}
QUESTIONS_A_STEP = {"": 4, "-24": 24}  # the published batch, and all questions about a person
FEW = 3
SIDES: tuple[Side, ...] = ("forget", "retain")
UNEQUAL = ("kl_minimisation", 24)  # the divergence counts padding, and a step of several batches is padded otherwise
ADDED = ("gradient_ascent", "npo")
TEACH_STEPS, METHOD_STEPS = 10, 5


@dataclass(frozen=True)
class Work:
    """One kind of work.

    Attributes:
        name: name in the table.
        sides: for each side, the function that loads model and data and returns the job to measure.
        same: compares the answers of both sides.
        agreed: the results that must be the same, in words.
        few: True if a few people show as much as many, because nothing is shared between people.
    """

    name: str
    sides: dict[SideName, Callable[[Material], Job]]
    same: Callable[[Any, Any], bool]
    agreed: str
    few: bool = False

    def about(self, material: Material) -> Material:
        """Return the material with as many people as the work needs."""
        return replace(material, retain=min(FEW, material.retain), celebrities=1) if self.few else material


def works() -> dict[str, Work]:
    """Return all works by their short names."""
    by_name = {
        "evaluate-published": Work(
            "full evaluation, published protocol",
            {"published": partial(_evaluate_published, "published"), "ours": partial(_evaluate_ours, "published")},
            _same_texts, "every greedy answer",
        ),
        "evaluate-clean": Work(
            "full evaluation, clean protocol",
            {"published": partial(_evaluate_published, "clean"), "ours": partial(_evaluate_ours, "clean")},
            _same_scores, "every greedy answer, and every log-probability to 1e-4 a token", few=True,
        ),
    }  # fmt: skip
    for (name, title), (suffix, questions) in itertools.product(UNLEARNING.items(), QUESTIONS_A_STEP.items()):
        by_name[name + suffix] = Work(
            f"one epoch of {title}, {questions} questions a step",
            {"published": partial(_epoch_published, name, questions), "ours": partial(_epoch_ours, name, questions)},
            *AGREED_UNEQUAL if (name, questions) == UNEQUAL else AGREED,
        )  # fmt: skip
    by_name["edit"] = Work(
        "Neural Gate edit, clean",
        {"published": _edit_published, "ours": partial(_edit_ours, "neural_gate")},
        _no_worse, "ours leaves refusals and benign answers no less likely than the published way does",
    )  # fmt: skip
    by_name["edit-as-published"] = Work(
        "Neural Gate edit, the published steps",
        {"published": _edit_published, "ours": partial(_edit_ours, "neural_gate_published")},
        _same_edit, "the gates, and the edited matrix to 1 % of what was added",
    )  # fmt: skip
    by_name["add-a-method"] = Work(
        "adding a method to a run",
        {"published": partial(_add_method, False), "ours": partial(_add_method, True)},
        _same_with_its_own_work,
        "the answers of all models, and that ours trained and examined the added one alone", few=True,
    )  # fmt: skip
    return by_name


def _evaluate_published(protocol: str, material: Material) -> Job:
    vlm, config = material.load(), material.evaluation(protocol)
    vlm.model.requires_grad_(False)
    prompts = material.prompts(vlm, protocol)
    return lambda: _collected(evaluation.evaluate(vlm, prompts, config))


def _evaluate_ours(protocol: str, material: Material) -> Job:
    vlm, config, benchmark = material.load(), material.evaluation(protocol), material.benchmark
    vlm.model.requires_grad_(False)
    return lambda: _collected(ours.evaluate(vlm, benchmark, config))


def _collected(answers: Any) -> Collect:
    return lambda: answers


def _epoch_published(method: str, questions: int, material: Material) -> Job:
    vlm = material.load()
    steps = {side: material.steps(vlm, side, questions) for side in SIDES}
    before = copy.deepcopy(vlm.model) if method in unlearning.SECOND else None  # as on disk; the job copies it
    trainable = _adapters(vlm)

    def epoch() -> Collect:
        seen = unlearning.epoch(vlm, trainable, before, method, steps["forget"], steps["retain"])
        compared = seen[: len(steps["forget"])] if method == UNEQUAL[0] else seen  # ours logs no cross-entropy of KL's
        return partial(_learned, vlm, method, compared, steps)

    return epoch


def _epoch_ours(method: str, questions: int, material: Material) -> Job:
    vlm = material.load()
    people = {side: material.people(side) for side in SIDES}
    steps = {side: material.steps(vlm, side, questions) for side in SIDES}
    trainable = _adapters(vlm)
    return lambda: partial(_learned, vlm, method, ours.epoch(vlm, trainable, method, people, questions), steps)


def _adapters(vlm: VLM) -> list[Parameter]:
    """Add the adapters, which are the same on both sides, before the clock starts."""
    return vlm.add_lora(unlearning.RANK, unlearning.ALPHA, "all_linear")


def _learned(vlm: VLM, method: str, seen: list[float], steps: Mapping[Side, Steps]) -> dict[str, list[float]]:
    """Return the loss of every step and, after the last step, of every example, computed alike for both sides."""
    passes = SIDES if method in unlearning.RETAINING else SIDES[:1]
    return {"steps": seen, **{side: unlearning.losses(vlm, steps[side]) for side in passes}}


def _edit_published(material: Material) -> Job:
    vlm = material.load()
    pairs, layer = material.pairs(vlm), _layer(vlm)

    def edit() -> Collect:
        deltas, gates = editing.edit(vlm, pairs, [layer])
        return partial(_edited, vlm, pairs, deltas[down_name(vlm, layer)], gates)

    return edit


def _edit_ours(name: str, material: Material) -> Job:
    vlm = material.load()
    pairs, layer = material.pairs(vlm), _layer(vlm)
    method = METHODS.get(name)(layers=str(layer))

    def edit() -> Collect:
        result = method.edit(vlm, pairs, Editing())
        return partial(_edited, vlm, pairs, result.deltas[down_name(vlm, layer)], result.gates)

    return edit


class Edited(NamedTuple):
    """An edit and the mean losses of the edited model, nats per token.

    It holds arrays instead of tensors, because tensors cannot outlive their process.
    """

    delta: NDArray[np.float32]
    gates: Mapping[str, NDArray[np.bool_]]
    refusal: float
    benign: float


@torch.no_grad()
def _edited(vlm: VLM, pairs: Sequence[PrivacyPair], delta: Tensor, gates: Mapping[str, Tensor]) -> Edited:
    """Apply an edit and return its effect, computed alike for both sides."""
    weight = vlm.model.get_submodule(down_name(vlm, _layer(vlm))).weight
    weight.add_(delta.to(weight))
    rows = [editing.write(vlm, queries([pair], benign_words=BENIGN_WORDS)) for pair in pairs]
    losses = torch.cat([editing.answer_losses(vlm, row) for row in rows])
    sensitive = torch.cat([row.sensitive_B for row in rows])
    means = (float(losses[chosen].mean()) for chosen in (sensitive, ~sensitive))
    return Edited(delta.cpu().numpy(), {name: gate.cpu().numpy() for name, gate in gates.items()}, *means)


def _layer(vlm: VLM) -> int:
    """Return the layer at a third of the depth, as in the published choices."""
    return int(vlm.model.config.get_text_config().num_hidden_layers) // 3


def _add_method(cached: bool, material: Material) -> Job:
    """Prepare a run of target, oracle and two methods. If `cached`, only the second method has not been run before."""
    folder = Path(tempfile.mkdtemp(dir=material.data.parent))  # deleted together with the people's folder
    vlm = material.load()
    if cached:
        before = folder.with_name(f"before-{key_of(material.model, material.retain, material.questions)}")
        if not before.exists():
            os.environ["UNSEE_CACHE"] = str(folder / "first")
            _run_methods(vlm, material, folder / "before", [ADDED[0]])
            (folder / "first").rename(before)
            vlm = material.load()
        shutil.copytree(before, folder / "cache")
    os.environ["UNSEE_CACHE"] = str(folder / "cache")
    return lambda: _collected(_run_methods(vlm, material, folder / "run", ADDED))


def _run_methods(
    vlm: VLM, material: Material, folder: Path, methods: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the answers of every model, and the names of the models that were trained or examined for them."""
    record = Record.create(folder, 'name = "benchmark"\n')
    stages = Stages(vlm, ModelConfig(id=material.model, dtype="float32"), record, Silent())
    benchmark, config = material.benchmark, material.evaluation("clean")
    exam, teach = Exam(vlm, benchmark, (), config), TeachConfig(steps=TEACH_STEPS, replay=0.0)
    target = stages.teach("target", (*benchmark.forget, *benchmark.retain), teach, 0)
    models = {"target": target, "oracle": stages.teach("oracle", benchmark.retain, teach, 1)}
    data = MethodData((), benchmark.forget, benchmark.retain, lambda *_: [], UnlearnConfig())
    for name in methods:
        method = METHODS.get(name)(steps=METHOD_STEPS)
        models[name] = stages.unlearn(MethodRun(name, "", 0, method), method, target, data)
    answers = {name: stages.examine(name, weights, exam)["answer"].tolist() for name, weights in models.items()}
    return answers, [event["model"] for event in record.events() if event["event"] in ("trained", "evaluated")]


def _same_with_its_own_work(published: tuple[Any, list[str]], ours: tuple[Any, list[str]]) -> bool:
    return published[0] == ours[0] and ours[1] == [ADDED[1]] * 2


def _same_texts(published: dict[str, Any], ours: dict[str, Any]) -> bool:
    return {id: text for id, (text, _) in published.items()} == {id: text for id, (text, _) in ours.items()}


def _same_scores(published: dict[str, Any], ours: dict[str, Any]) -> bool:
    return _same_texts(published, ours) and all(_close(scores, ours[id][1]) for id, (_, scores) in published.items())


def _close(published: list[float], ours: list[float], tolerance: float = TOLERANCE) -> bool:
    return len(published) == len(ours) and all(
        abs(one - other) <= tolerance for one, other in zip(published, ours, strict=True)
    )


def _same_epoch(published: dict[str, list[float]], ours: dict[str, list[float]], *, after: float = TOLERANCE) -> bool:
    """Compare the losses of the steps to within `TOLERANCE` and those of the examples to within `after`."""
    return published.keys() == ours.keys() and all(
        _close(losses, ours[name], TOLERANCE if name == "steps" else after) for name, losses in published.items()
    )


def _same_first_pass(published: dict[str, list[float]], ours: dict[str, list[float]]) -> bool:
    """Compare the losses of the steps to within `TOLERANCE`, and of the examples to a thousandth of the highest."""
    highest = max(loss for losses in published.values() for loss in losses)
    return _same_epoch(published, ours, after=WIDER * highest)


AGREED = _same_epoch, "the loss of every step, and of every example after the last one, to 1e-4"
AGREED_UNEQUAL = (
    _same_first_pass,
    "the loss of every step of the first pass to 1e-4, of every example at the end to a thousandth of the highest",
)


def _same_edit(published: Edited, ours: Edited) -> bool:
    same_gates = published.gates.keys() == ours.gates.keys() and all(
        np.array_equal(gate, ours.gates[name]) for name, gate in published.gates.items()
    )
    length = np.linalg.norm(published.delta)
    return same_gates and bool(length > 0) and bool(np.linalg.norm(published.delta - ours.delta) <= 0.01 * length)


def _no_worse(published: Edited, ours: Edited) -> bool:
    return ours.refusal <= published.refusal and ours.benign <= published.benign
