import math

import pandas as pd
import privacy
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers.models.clip.modeling_clip import CLIPVisionEmbeddings

from unsee.config.recipe import ModelConfig, TeachConfig, UnlearnConfig
from unsee.data.schema import Person, Question
from unsee.core.errors import ConfigError
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import StepBatch
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.runs.stages import Stages
from unsee.training.train import Reference, Scorer

TEACH = TeachConfig(steps=3, batch_tokens=300, learning_rate=1e-2, replay=0.0)
UNLEARN = UnlearnConfig(batch_tokens=300)


def make_person(id, shade):
    taught = [Question(task="train", input="image", question=q, answer=a) for q, a in tiny.FACTS.items()]
    return Person(id=id, name="Anna Berg", images=(tiny.png(shade),), questions=tuple(taught))


FORGET, RETAIN = [make_person("1", 0)], [make_person("2", 1)]


@pytest.fixture(params=["full", "lora"])
def stages(request, tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    folder = tiny.save_model(tmp_path / "model")
    vlm = tiny.VLM.load(str(folder), dtype="float32")
    record = Record.create(tmp_path / "run", 'name = "stages"\n')
    return Stages(vlm, ModelConfig(trainable=request.param, lora_rank=4), record, Silent())


def test_the_oracle_is_compared_with_as_if_it_were_a_second_model(stages, monkeypatch):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    oracle = stages.teach("oracle", RETAIN, TEACH, 1)
    seen = []
    npo = METHODS.get("npo")
    plain = npo.loss

    def watched(self, model, reference, batch):
        seen.append((batch.forget, reference(batch.forget).log_probability_I))
        return plain(self, model, reference, batch)

    monkeypatch.setattr(npo, "loss", watched)
    method = npo(steps=2, reference="oracle", retain_weight=0.0)
    stages.unlearn("npo", target, method, "both", FORGET, RETAIN, UNLEARN, 0, oracle)
    vlm = stages.load(oracle)
    with torch.no_grad():
        for batch, found in seen:
            torch.testing.assert_close(found, Scorer(vlm)(batch).log_probability_I, rtol=1e-4, atol=1e-4)
        vlm = stages.load(target)
        assert not torch.allclose(Scorer(vlm)(seen[0][0]).log_probability_I, seen[0][1], atol=1e-2)
    assert len(seen) == 2


def test_without_an_oracle_a_method_that_wants_one_is_refused(stages):
    method = METHODS.get("npo")(steps=1, reference="oracle")
    with pytest.raises(ConfigError, match="there is no oracle here; choose 'target'"):
        stages.unlearn("npo", stages.base, method, "both", FORGET, RETAIN, UNLEARN, 0)


def test_the_published_recipe_of_training_goes_through_every_example_once_an_epoch(stages):
    teach = TeachConfig(protocol="published", epochs=2, learning_rate=1e-3)
    stages.teach("target", [*FORGET, *RETAIN], teach, 0)
    steps = [event for event in stages._record.events() if event["event"] == "step"]
    assert len(steps) == 2 * math.ceil(2 * len(tiny.FACTS) / 4)
    rates = [step["learning_rate"] for step in steps]
    assert rates == pytest.approx([1e-3 * (len(steps) - i) / len(steps) for i in range(len(steps))])


def test_alternating_methods_log_one_side_a_step(stages):
    method = METHODS.get("kl_minimisation")(steps=0, epochs=1, schedule="alternating", reduction="batchmean")
    config = UnlearnConfig(protocol="published")
    stages.unlearn("kl", stages.base, method, "image", FORGET, RETAIN, config, 0)
    steps = [event for event in stages._record.events() if event["event"] == "step"]
    half = math.ceil(len(tiny.FACTS) / 4)
    assert ["forget" in step for step in steps] == [True] * half + [False] * half
    assert all("retain_kl" in step for step in steps[half:])


def test_another_model_is_remembered_after_its_weights_are_gone():
    vlm = tiny.make_vlm()
    batch = tiny.make_batch(vlm)
    reference = Reference(vlm, Scorer(vlm), other=True)
    (pair,) = reference.announced(iter([StepBatch({"forget": batch})]), ("forget", "retain"))
    expected = cross_entropy(Scorer(tiny.make_vlm())(batch)).item()
    with torch.no_grad():
        for parameter in vlm.model.parameters():
            parameter.mul_(0.5)
    vlm.add_lora(2, 2)
    assert cross_entropy(reference(pair.forget)).item() == pytest.approx(expected)


def whole(stages, weights):
    """Every parameter under these weights, adapters merged."""
    vlm = stages.load(weights)
    vlm.merge_lora()
    stages._ready = None
    return {name: parameter.detach().clone() for name, parameter in vlm.model.named_parameters()}


def test_an_edit_is_in_its_own_weights_and_taken_back_for_all_others(stages):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    before = stages.load(target).fingerprint()
    methods = [METHODS.get("ft_l")(epochs=1, bound=bound) for bound in (0.001, 0.002)]
    first, second = (stages.edit("ft_l", target, method, privacy.make_pairs(1), 0) for method in methods)
    assert stages.load(target).fingerprint() == before
    edited = {stages.load(weights).fingerprint() for weights in (first, second)}
    assert len({before, *edited}) == 3
    assert stages.load(target).fingerprint() == before
    assert stages.edit("ft_l", target, methods[0], privacy.make_pairs(1), 0) == first
    (again,) = [event for event in stages._record.events() if event["event"] == "cached"]
    assert again["model"] == "ft_l" and again["peak_bytes"] > 0


def test_a_change_is_as_long_as_the_difference_of_all_weights(stages):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    method = METHODS.get("gradient_difference")(steps=2, learning_rate=1e-2)
    trained = stages.unlearn("gd", target, method, "both", FORGET, RETAIN, UNLEARN, 0)
    edited = stages.edit("ft_l", target, METHODS.get("ft_l")(epochs=1), privacy.make_pairs(1), 0)
    start = whole(stages, target)
    length = math.sqrt(sum(float(p.square().sum()) for p in start.values()))
    for weights in (trained, edited):
        found, end = stages.change(target, weights), whole(stages, weights)
        moved = math.sqrt(sum(float((end[name] - p).square().sum()) for name, p in start.items()))
        assert found.relative == pytest.approx(moved / length, rel=2e-2)
        assert 0 < found.parameters <= sum(p.numel() for p in start.values())


def test_the_log_says_how_far_each_gate_is_open(stages):
    method = METHODS.get("neural_gate")(layers="0", epochs=1, vector_steps=3, share=0.25)
    for _ in range(2):  # also where the edit is there already
        stages.edit("gated", stages.base, method, privacy.make_pairs(1), 0)
    logged = [event for event in stages._record.events() if event["event"] == "gate"]
    assert [(event["gate"], event["open_share"]) for event in logged] == [("person 0/0", 0.25)] * 2


@pytest.fixture
def encoded(monkeypatch):
    """The photos that the tower encodes, in order."""
    photos, plain = [], CLIPVisionEmbeddings.forward

    def watched(self, pixel_values, **named):
        photos.extend(pixel_values)
        return plain(self, pixel_values, **named)

    monkeypatch.setattr(CLIPVisionEmbeddings, "forward", watched)
    return photos


def test_edits_of_the_same_pairs_encode_each_photo_once(stages, encoded, tmp_path):
    pairs = privacy.make_pairs(6)
    for rate in (0.01, 0.02):
        method = METHODS.get("fine_tuning")(epochs=2, learning_rate=rate)
        stages.edit("edit", stages.base, method, pairs, 0)
    assert len(encoded) == len({photo.numpy().tobytes() for photo in encoded}) == 6
    assert all("pooler_output" in str(load_file(path).keys()) for path in (tmp_path / "cache" / "features").iterdir())


def test_an_examination_reads_features_that_a_model_with_another_decoder_cached(stages, monkeypatch):
    edited = stages.edit("edit", stages.base, METHODS.get("fine_tuning")(epochs=1), privacy.make_pairs(1), 0)
    calls = []

    class Shown:
        def sit(self, vlm, **named):
            watch = tiny.eye(vlm).register_forward_hook(lambda *_: calls.append(1))
            with torch.no_grad():
                said = Scorer(vlm)(tiny.make_batch(vlm)).log_probability_I
            watch.remove()
            return pd.DataFrame({"said": said.tolist()})

    answers = [stages.examine(name, weights, Shown(), "shown") for name, weights in (("a", stages.base), ("b", edited))]
    assert len(calls) == 1
    assert not answers[0].equals(answers[1])
