"""Stages of a run on a tiny model, about one person to forget and one to keep."""

import pytest
import tiny

from unsee.config.recipe import TeachConfig, UnlearnConfig
from unsee.data.schema import Person, Question
from unsee.runs.method_runs import Material, MethodRun

TEACH = TeachConfig(steps=3, batch_tokens=300, learning_rate=1e-2, replay=0.0)
UNLEARN = UnlearnConfig(batch_tokens=300)


def make_person(id, shade):
    taught = [Question(task="train", input="image", question=q, answer=a) for q, a in tiny.FACTS.items()]
    return Person(id=id, name="Anna Berg", images=(tiny.png(shade),), questions=tuple(taught))


FORGET, RETAIN = [make_person("1", 0)], [make_person("2", 1)]


once = pytest.mark.parametrize("stages", ["full"], indirect=True)
"""For what trains no weights of the run's choice, or only asks which stages are computed."""
each_modality = pytest.mark.parametrize(
    ("stages", "modality"), [("full", "both"), ("lora", "image"), ("full", "text")], indirect=["stages"]
)


def unlearn(stages, target, method, modality="both", unlearn=UNLEARN, oracle=None, name="method"):
    material = Material(("Anna Berg",), FORGET, RETAIN, lambda *_: [], unlearn, oracle)
    return stages.apply(MethodRun(name, modality, 0, method), target, material)


def edit(stages, target, method, pairs, name="edit"):
    material = Material(("Anna Berg",), FORGET, RETAIN, lambda *_: pairs, UNLEARN)
    return stages.apply(MethodRun(name, "", 0, method), target, material)


def whole(stages, weights):
    """Every parameter under these weights, adapters merged."""
    vlm = stages.load(weights)
    vlm.merge_lora()
    stages.loaded._holds = None
    return {name: parameter.detach().clone() for name, parameter in vlm.model.named_parameters()}
