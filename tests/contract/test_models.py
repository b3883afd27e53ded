"""What holds for every model family, found by its name."""

import re

import pytest
import tiny
import torch

from unsee.generate import Group, generate
from unsee.methods.base import Pair
from unsee.models import MODELS
from unsee.models.vlm import VLM
from unsee.teach import FineTuning
from unsee.train import Schedule, Scorer, train

TINY = {"llava": tiny.make_vlm}


@pytest.fixture(params=MODELS.names())
def vlm(request):
    return TINY[request.param]()


def exercise(vlm):
    """Everything the engine does with a model, without changing it for good."""
    batch = tiny.make_batch(vlm)
    vlm.train_language()
    Scorer(vlm)(batch).logits_NV.sum().backward()
    generate(vlm, [Group.of(vlm.prompt_ids(tiny.QUESTIONS))], max_new_tokens=2)
    schedule = Schedule(learning_rate=1e-3, steps=2)
    train(vlm, FineTuning(), iter([Pair({"retain": batch})] * 2), schedule, vlm.add_lora(2, 4), name="exercise")
    with vlm.adapter_off():
        Scorer(vlm)(batch)
    vlm.merge_lora()


def hooks(vlm):
    return {
        (name, kind): len(found)
        for name, part in vlm.model.named_modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        if (found := getattr(part, kind))
    }


@pytest.mark.parametrize("name", MODELS.names())
def test_it_is_named_after_its_transformers_type_and_has_a_tiny_one(name):
    assert TINY[name]().model.config.model_type == name
    (leaf,) = [leaf for leaf in MODELS.leaves() if leaf.name == name]
    assert leaf.summary.endswith(".")
    assert leaf.paper


def test_loading_what_was_saved_gives_the_same_logits(vlm, tmp_path):
    vlm.save(tmp_path)
    batch = tiny.make_batch(vlm)
    with torch.no_grad():
        assert torch.equal(Scorer(VLM.load(str(tmp_path)))(batch).logits_NV, Scorer(vlm)(batch).logits_NV)


def test_its_parts_are_where_its_layout_says(vlm):
    layout, model = vlm.layout, vlm.model
    layers = model.get_submodule(layout.decoder_layers)
    assert len(layers) == model.config.get_text_config().num_hidden_layers
    assert all(isinstance(layer.get_submodule(layout.mlp), torch.nn.Module) for layer in layers)
    assert list(model.get_submodule(layout.projector).parameters())
    assert list(model.get_submodule(layout.vision_tower).parameters())


def test_adapters_go_into_every_linear_layer_of_the_decoder_and_nowhere_else(vlm):
    linear = {name for name, part in vlm.model.named_modules() if isinstance(part, torch.nn.Linear)}
    chosen = {name for name in linear if re.fullmatch(vlm.layout.lora_targets, name)}
    assert chosen == {name for name in linear if name.startswith(vlm.layout.decoder_layers)}


def test_the_picture_reaches_every_answer(vlm):
    with torch.no_grad():
        one, other = (Scorer(vlm)(tiny.make_batch(vlm, shade=shade)).log_probability_I for shade in (0, 1))
    with_picture = len(tiny.ANSWERS)
    assert (one != other)[:with_picture].all()
    torch.testing.assert_close(one[with_picture:], other[with_picture:])


def test_no_hook_is_left(vlm):
    exercise(vlm)  # transformers hangs up its own at the first call
    before = hooks(vlm)
    exercise(vlm)
    assert hooks(vlm) == before
