"""Methods that compute with what training changed, from statistics, or on other sides than forget and retain."""

from dataclasses import dataclass

import pytest
import tiny
import torch
from stages import FORGET, RETAIN, TEACH, UNLEARN, each_modality, once, unlearn, whole

from unsee.core.errors import DataError
from unsee.data.schema import Person, Question
from unsee.edits.edit import Edit
from unsee.edits.partial_forward import down_name
from unsee.forward.hooks import capture
from unsee.forward.losses import cross_entropy, shared_tokens
from unsee.methods import METHODS
from unsee.methods.base import Deltas, Loss, LossMethod, StatisticsMethod
from unsee.methods.smfa import agreeing
from unsee.runs.method_runs import Material, MethodRun

pytestmark = pytest.mark.slow


def test_a_method_computes_with_what_its_training_changed_and_is_undone(stages, monkeypatch):
    changes = []
    task_vector = METHODS.get("task_vector")
    plain = task_vector.after_training
    monkeypatch.setattr(
        task_vector, "after_training", lambda self, made, *rest: changes.append(made[""]) or plain(self, made, *rest)
    )
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    start = whole(stages, target)
    back = unlearn(stages, target, task_vector(learning_rate=1e-2, steps=2, strength=2.0))
    ends = whole(stages, back)
    (change,) = changes
    for name, before in start.items():
        added = change.get(name, change.get(name.removesuffix(".weight"), torch.zeros(())))
        torch.testing.assert_close(ends[name], before - 2 * added, rtol=1e-4, atol=1e-6)
    assert sum(int(added.count_nonzero()) for added in change.values()) > 100
    assert all(torch.equal(after, start[name]) for name, after in whole(stages, target).items())
    kept = Edit.load(back.edit)
    assert (kept.method, kept.settings["strength"]) == ("task_vector", 2.0)
    assert stages.change(target, back).relative > 0
    events = stages.log.record.events()
    made = {event["event"]: event["seconds"] for event in events if event["event"] in ("trained", "edited")}
    assert made["edited"] >= made["trained"] > 0  # its training counts


@each_modality
def test_a_method_of_several_trainings_starts_each_from_the_target_and_asks_what_the_run_unlearns_from(
    stages, monkeypatch, modality
):
    seen = {}
    smfa = METHODS.get("smfa")
    plain = smfa.after_training

    def watched(self, changes, vlm, batches):
        seen.update(changes)
        return plain(self, changes, vlm, batches)

    monkeypatch.setattr(smfa, "after_training", watched)
    start = whole(stages, stages.base)
    end = whole(stages, unlearn(stages, stages.base, smfa(learning_rate=1e-2, steps=2), modality))
    refusing = ["image", "text"] if modality == "both" else [modality]
    assert set(seen) == {*refusing, "retain"}
    events = [event for event in stages.log.record.events() if event["event"] == "step"]
    assert {event["model"] for event in events} == {f"method-{modality}-{name}" for name in seen}
    assert all(("refusal" in event) == (not event["model"].endswith("retain")) for event in events)
    for name, keep in seen["retain"].items():
        strengths = {"image": 5.0, "text": 10.0}
        cut = [agreeing(seen[one][name], keep, strengths[one]) for one in refusing]
        key = name if name in start else f"{name}.weight"
        torch.testing.assert_close(end[key], start[key] + sum(cut) / len(cut), rtol=1e-4, atol=1e-6)


def test_fisher_information_is_asked_of_the_questions_that_there_are(stages, monkeypatch):
    asked = []
    mmunlearner = METHODS.get("mmunlearner")
    plain = mmunlearner.combine
    monkeypatch.setattr(
        mmunlearner, "combine", lambda self, found, fisher: asked.append(fisher) or plain(self, found, fisher)
    )
    unlearn(stages, stages.base, mmunlearner(steps=1, learning_rate=1e-2), "image")
    (fisher,) = asked
    assert set(fisher) == {(side, kind) for side in ("forget", "retain") for kind in ("image", "text")}
    assert all(any(of.any() for of in each) for each in fisher.values())


@dataclass(frozen=True, kw_only=True)
class Prune(StatisticsMethod):
    """Zero the neuron of a layer that is most active on forget questions and least on retain questions."""

    layer: int = 0
    kind: str = "image"

    def compute(self, vlm, batches, work):
        name = down_name(vlm, self.layer)
        module = vlm.model.get_submodule(name)
        activity = {}
        for side in self.sides:
            with torch.no_grad(), capture([module]) as (seen,):
                means = []
                for batch in batches(side, self.kind):
                    vlm.hidden(batch.inputs)
                    means.append(seen.input.flatten(0, 1).abs().mean(0))
                activity[side] = torch.stack(means).mean(0)
        chosen = int((activity["forget"] - activity["retain"]).argmax())
        delta = torch.zeros_like(module.weight)
        delta[:, chosen] = -module.weight[:, chosen]
        return Deltas(deltas={name: delta.detach()}, settings={"neuron": chosen})


@pytest.mark.parametrize(("stages", "kind"), [("full", "image"), ("lora", "text")], indirect=["stages"])
def test_a_method_prunes_by_what_the_model_does_on_both_sides_without_training(stages, kind):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    before = stages.load(target).fingerprint()
    pruned = unlearn(stages, target, Prune(kind=kind))
    chosen = Edit.load(pruned.edit).settings["neuron"]
    name = f"{down_name(stages.vlm, 0)}.weight"
    after = whole(stages, pruned)[name]
    assert not after[:, chosen].any()
    assert after.any(0).sum() == after.shape[1] - 1
    assert stages.load(target).fingerprint() == before


@once
def test_manu_prunes_neurons_and_needs_questions_with_and_without_the_image(stages):
    pruned = unlearn(stages, stages.base, METHODS.get("manu")(share=0.1))
    edit = Edit.load(pruned.edit)
    assert sum(int(delta.any(0).sum()) for delta in edit.deltas.values()) == edit.settings["neurons"] > 0
    shown = Question(task="train", input="image", question="Job?", answer="A baker.")
    only_images = [Person(id="3", name="Bo", images=(tiny.png(3),), questions=(shown,))]
    material = Material(("Bo",), only_images, RETAIN, lambda *_: [], UNLEARN)
    with pytest.raises(DataError, match=r"^method\.manu: needs questions of the forget side .* as text alone"):
        stages.apply(MethodRun("manu", "both", 0, METHODS.get("manu")()), stages.base, material)


@once
def test_a_null_space_task_vector_changes_the_decoder_alone_and_is_undone(stages):
    before = stages.load(stages.base).fingerprint()
    method = METHODS.get("null_space_task_vector")(learning_rate=1e-2, steps=2, free_share=0.1)
    edit = Edit.load(unlearn(stages, stages.base, method).edit)
    assert edit.deltas and all(name.startswith(stages.vlm.layout.decoder_layers) for name in edit.deltas)
    assert any(delta.any() for delta in edit.deltas.values())
    assert stages.load(stages.base).fingerprint() == before


@dataclass(frozen=True, kw_only=True)
class Refuse(LossMethod):
    """Answer forget questions with refusals, and no less likely than the truth about somebody else (shape of IDK)."""

    learning_rate: float = 1e-2
    steps: int = 3
    sides: tuple[str, ...] = ("forget", "refusal", "swapped", "retain")
    reference_sides: tuple[str, ...] = ("swapped",)

    def loss(self, model, reference, batch):
        forget, swapped = model(batch.forget), reference(batch.of("swapped"))
        index, other = shared_tokens(forget, swapped)
        assert torch.equal(forget.target_N[index], swapped.target_N[other])
        assert len(index) > 0
        gap = (forget.log_probability_N[index] - swapped.log_probability_N[other]).square().mean()
        refusal = cross_entropy(model(batch.of("refusal")))
        return Loss(refusal + gap + cross_entropy(model(batch.retain)), {"refusal": refusal.item(), "gap": gap.item()})


@each_modality
def test_sides_with_refusals_and_with_another_identity_are_aligned(stages, modality):
    unlearn(stages, stages.base, Refuse(), modality)
    steps = [event for event in stages.log.record.events() if event["event"] == "step"]
    assert len(steps) == 3
    assert steps[-1]["refusal"] < steps[0]["refusal"]
