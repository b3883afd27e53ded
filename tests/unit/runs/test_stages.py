import math
from contextlib import contextmanager

import pandas as pd
import privacy
import pytest
import tiny
import torch
from safetensors.torch import load_file
from stages import FORGET, RETAIN, TEACH, UNLEARN, edit, once, unlearn, whole
from transformers.models.clip.modeling_clip import CLIPVisionEmbeddings

from unsee.config.recipe import ModelConfig, TeachConfig, UnlearnConfig
from unsee.core.errors import ConfigError
from unsee.core.files import discard
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.core.source import source_hash
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import StepBatch
from unsee.runs.stages import Stages
from unsee.runtime.tasks import NotNow
from unsee.runtime.threads import fixed_threads
from unsee.training.train import Reference, Scorer

pytestmark = pytest.mark.slow


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
    unlearn(stages, target, method, oracle=oracle)
    vlm = stages.load(oracle)
    with torch.no_grad():
        for batch, found in seen:
            torch.testing.assert_close(found, Scorer(vlm)(batch).log_probability_I, rtol=1e-4, atol=1e-4)
        vlm = stages.load(target)
        assert not torch.allclose(Scorer(vlm)(seen[0][0]).log_probability_I, seen[0][1], atol=1e-2)
    assert len(seen) == 2


@pytest.mark.parametrize(("name", "forward", "back"), [("gradient_difference", 4, 4), ("npo", 6, 4), ("ft_l", 5, 2)])
def test_what_a_method_cost_counts_its_passes(stages, name, forward, back):
    """Two steps over two sides, NPO after a pass of its reference; an edit reads states, then tunes for two epochs."""
    if name == "ft_l":
        method = METHODS.get(name)(epochs=2)
        made = edit(stages, stages.base, method, privacy.make_pairs(1), name)
    else:
        made = unlearn(stages, stages.base, METHODS.get(name)(steps=2), name=name)
    cost = stages.cost(made)
    assert (cost.forward_passes, cost.backward_passes) == (forward, back)


def test_weights_made_with_other_threads_are_others_of_the_same_draws(stages):
    with fixed_threads(2):
        elsewhere = Stages(stages.vlm, stages.config, stages.log.record, Silent())
    one, other = (here.teach("target", RETAIN, TEACH, 0) for here in (stages, elsewhere))
    assert one.draws == other.draws
    assert one.key != other.key


def test_without_an_oracle_a_method_that_wants_one_is_refused(stages):
    method = METHODS.get("npo")(steps=1, reference="oracle")
    with pytest.raises(ConfigError, match="there is no oracle here; choose 'target'"):
        unlearn(stages, stages.base, method)


def test_the_published_recipe_of_training_goes_through_every_example_once_an_epoch(stages):
    teach = TeachConfig(protocol="published", epochs=2, learning_rate=1e-3)
    stages.teach("target", [*FORGET, *RETAIN], teach, 0)
    steps = [event for event in stages.log.record.events() if event["event"] == "step"]
    assert len(steps) == 2 * math.ceil(2 * len(tiny.FACTS) / 4)
    rates = [step["learning_rate"] for step in steps]
    assert rates == pytest.approx([1e-3 * (len(steps) - i) / len(steps) for i in range(len(steps))])


def test_alternating_methods_log_one_side_a_step(stages):
    method = METHODS.get("kl_minimisation")(steps=0, epochs=1, schedule="alternating", reduction="batchmean")
    config = UnlearnConfig(protocol="published")
    unlearn(stages, stages.base, method, "image", config)
    steps = [event for event in stages.log.record.events() if event["event"] == "step"]
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


def test_exported_models_are_found_whole_one_on_the_other(stages, tmp_path):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    method = unlearn(stages, target, METHODS.get("npo")(steps=2))
    for _ in range(2):  # a run that goes on finds its models written
        stages.export("models/target", target)
        stages.export("models/npo", method, "models/target")
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    for name, weights in {"target": target, "npo": method}.items():
        loaded = tiny.VLM.load(str(moved / "models" / name), dtype="float32").model.state_dict()
        for key, tensor in whole(stages, weights).items():
            torch.testing.assert_close(loaded[key], tensor)


def test_an_edit_is_in_its_own_weights_and_taken_back_for_all_others(stages):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    before = stages.load(target).fingerprint()
    methods = [METHODS.get("ft_l")(epochs=1, bound=bound) for bound in (0.001, 0.002)]
    first, second = (edit(stages, target, method, privacy.make_pairs(1), "ft_l") for method in methods)
    assert stages.load(target).fingerprint() == before
    edited = {stages.load(weights).fingerprint() for weights in (first, second)}
    assert len({before, *edited}) == 3
    assert stages.load(target).fingerprint() == before
    assert edit(stages, target, methods[0], privacy.make_pairs(1), "ft_l") == first
    (again,) = [event for event in stages.log.record.events() if event["event"] == "cached"]
    assert again["model"] == "ft_l" and again["peak_bytes"] > 0


def test_a_change_is_as_long_as_the_difference_of_all_weights(stages):
    target = stages.teach("target", [*FORGET, *RETAIN], TEACH, 0)
    method = METHODS.get("gradient_difference")(steps=2, learning_rate=1e-2)
    trained = unlearn(stages, target, method)
    edited = edit(stages, target, METHODS.get("ft_l")(epochs=1), privacy.make_pairs(1))
    start = whole(stages, target)
    length = math.sqrt(sum(float(p.square().sum()) for p in start.values()))
    for weights in (trained, edited):
        found, end = stages.change(target, weights), whole(stages, weights)
        moved = math.sqrt(sum(float((end[name] - p).square().sum()) for name, p in start.items()))
        assert found.relative == pytest.approx(moved / length, rel=2e-2)
        assert 0 < found.parameters <= sum(p.numel() for p in start.values())


@once
def test_the_log_says_how_far_each_gate_is_open(stages):
    method = METHODS.get("neural_gate")(layers="0", epochs=1, vector_steps=3, share=0.25)
    for _ in range(2):  # also where the edit is there already
        edit(stages, stages.base, method, privacy.make_pairs(1))
    logged = [event for event in stages.log.record.events() if event["event"] == "gate"]
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


@once
def test_edits_of_the_same_pairs_encode_each_photo_once(stages, encoded, tmp_path):
    pairs = privacy.make_pairs(6)
    for rate in (0.01, 0.02):
        method = METHODS.get("ft_l")(epochs=2, learning_rate=rate)
        edit(stages, stages.base, method, pairs)
    assert len(encoded) == len({photo.numpy().tobytes() for photo in encoded}) == 6
    features = (tmp_path / "cache" / "features").glob("*.safetensors")
    assert all("pooler_output" in str(load_file(path).keys()) for path in features)


@once
def test_an_examination_reads_features_that_a_model_with_another_decoder_cached(stages, monkeypatch):
    edited = edit(stages, stages.base, METHODS.get("ft_l")(epochs=1), privacy.make_pairs(1))
    calls = []

    class Shown:
        key = "shown"

        def examine(self, vlm, **named):
            watch = tiny.eye(vlm).register_forward_hook(lambda *_: calls.append(1))
            with torch.no_grad():
                said = Scorer(vlm)(tiny.make_batch(vlm)).log_probability_I
            watch.remove()
            return pd.DataFrame({"said": said.tolist()})

    answers = [stages.examine(name, weights, Shown()) for name, weights in (("a", stages.base), ("b", edited))]
    assert len(calls) == 1
    assert not answers[0].equals(answers[1])


def test_a_changed_method_is_trained_again_from_the_same_draws(stages, monkeypatch):
    method = METHODS.get("gradient_difference")(steps=2, learning_rate=1e-2)
    first = unlearn(stages, stages.base, method)
    assert unlearn(stages, stages.base, method) == first
    hashed = source_hash("unsee.methods.gradient_difference")
    monkeypatch.setattr("unsee.runs.stages.source_hash", lambda module: f"{source_hash(module)} and a changed line")
    second = unlearn(stages, stages.base, method)
    assert second.key != first.key
    assert second.draws == first.draws
    assert hashed == source_hash("unsee.methods.gradient_difference")
    trained = [event for event in stages.log.record.events() if event["event"] == "trained"]
    assert len(trained) == 2


def test_adapters_in_all_layers_draw_what_they_drew_and_layers_that_do_not_exist_are_refused(model, tmp_path):
    record = Record.create(tmp_path / "run", 'name = "stages"\n')

    def trained_part(**changed):
        return Stages(tiny.load(model), ModelConfig(trainable="lora", **changed), record, Silent()).trained_part()

    assert "lora_layers" not in trained_part()
    assert trained_part(lora_layers="upper 1")["lora_layers"] == "upper 1"
    with pytest.raises(ConfigError, match=r"model.lora_layers: 'upper 3' is out of range; the decoder has 2 layers"):
        trained_part(lora_layers="upper 3")


@once
def test_keys_that_draw_nothing_change_the_weights_and_no_draw(stages):
    """Without this, a new key of the published protocol would change the figures of the clean one."""
    taught = [
        stages.teach("target", FORGET, TEACH.model_copy(update=changed), 0)
        for changed in ({}, {"adamw": "transformers"}, {"reference_epochs": 3}, {"oracle_seeds": 4})
    ]
    assert len({weights.draws for weights in taught}) == 1
    assert [weights.key == taught[0].key for weights in taught] == [True, False, True, True]
    kl = METHODS.get("kl_minimisation")
    unlearned = [
        unlearn(stages, stages.base, kl(steps=2, **options), unlearn=UNLEARN.model_copy(update=changed))
        for options, changed in (({}, {}), ({"positions": "all"}, {}), ({}, {"adamw": "transformers"}))
    ]
    assert len({weights.draws for weights in unlearned}) == 1
    assert len({weights.key for weights in unlearned}) == 3
    events = [event for event in stages.log.record.events() if event["event"] == "step" and "retain_kl" in event]
    assert len(events) == 6


@once
def test_a_stage_is_numbered_named_and_said_to_come_from_the_cache(stages):
    said = []

    class Lines(Silent):
        @contextmanager
        def stage(self, title):
            said.append(title)
            yield self

        def say(self, line):
            said.append(line)

    stages.log.progress = Lines()
    stages.log.plan(["evaluate base", "unlearn gradient_ascent-both"], ["gradient_ascent"])
    for _ in range(2):
        unlearn(stages, stages.base, METHODS.get("gradient_ascent")(steps=1), name="gradient_ascent")
    title = "unlearn gradient ascent · both"
    assert said == [f"2 of 2: {title}", f"2 of 2: {title}", "from the cache"]
    events = [event for event in stages.log.record.events() if event["event"] in ("stage", "cached", "done")]
    assert [event["event"] for event in events] == ["stage", "done", "stage", "cached", "done"]
    assert {event["number"] for event in events} == {2}


@once
def test_a_stage_that_another_run_computes_is_put_off_and_leaves_no_trace(stages):
    key = stages.teach("target", RETAIN, TEACH, 0).key
    discard(stages.cache.path("weights", f"{key}.safetensors"))
    stages.log.patient = False
    before = stages.log.record.events()
    with stages.cache.locked(stages.cache.path("weights", f"{key}.safetensors")), pytest.raises(NotNow):
        stages.teach("target", RETAIN, TEACH, 0)
    assert stages.log.record.events() == before
    assert stages.teach("target", RETAIN, TEACH, 0).key == key


@once
def test_what_is_kept_is_found_without_computing_the_rest(stages):
    target = stages.teach("target", RETAIN, TEACH, 0)
    stages.log.only_kept = True
    assert stages.teach("target", RETAIN, TEACH, 0) == target
    with pytest.raises(NotNow):
        unlearn(stages, target, METHODS.get("gradient_ascent")(steps=1))
    assert [event["event"] for event in stages.log.record.events()][-3:] == ["stage", "cached", "done"]
