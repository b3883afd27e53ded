"""Gradients of image and text questions on the forget side, brought to one length."""

import tiny
import torch
from torch import nn

from unsee.forward.losses import cross_entropy
from unsee.forward.trees import collate
from unsee.methods import METHODS
from unsee.methods.base import StepBatch
from unsee.training.train import Schedule, Scorer, train


def image_batch(vlm, shade):
    return collate([tiny.make_tree(vlm, picture=tiny.picture_of(vlm, shade))], vlm)


def text_batch(vlm):
    return collate([tiny.make_tree(vlm)], vlm)


def mixed(vlm):
    return collate([tiny.make_tree(vlm, picture=tiny.picture_of(vlm, 0)), tiny.make_tree(vlm)], vlm)


def gradient_of(vlm, loss, parameters):
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def stepped(monkeypatch, method, batch):
    """The gradient that the optimiser is given, unclipped, and what is logged."""
    vlm = tiny.make_vlm()
    parameters = vlm.train_language()
    kept, logged = [], []
    plain = torch.optim.AdamW.step
    schedule = Schedule(learning_rate=1e-3, steps=1, clip_norm=1e9)

    def step(self, *rest):
        kept.extend(torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters)
        return plain(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        train(
            vlm, method, iter([batch]), schedule, parameters, name="b", on_step=lambda _, loss, __: logged.append(loss)
        )
    return kept, logged[0]


def test_the_image_gradient_becomes_as_long_as_the_text_gradient_and_the_rest_stays(monkeypatch):
    vlm = tiny.make_vlm()
    parameters = vlm.train_language()
    forget, retain = mixed(vlm), image_batch(vlm, 5)
    half = forget.num_items // 2
    ascents = [
        Scorer(vlm)(forget).log_probability_N[where].sum() / len(forget.target_N)
        for where in (forget.item_N < half, forget.item_N >= half)
    ]
    image, text = (gradient_of(vlm, ascent, parameters) for ascent in ascents)
    rest = gradient_of(vlm, cross_entropy(Scorer(vlm)(retain)), parameters)
    scale = float(nn.utils.get_total_norm(text) / nn.utils.get_total_norm(image))
    assert abs(scale - 1) > 0.05
    expected = [scale * i + t + r for i, t, r in zip(image, text, rest, strict=True)]
    step = StepBatch({"forget": forget, "retain": retain})
    found, loss = stepped(monkeypatch, METHODS.get("gradient_difference")(balance=True), step)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    assert abs(loss.parts["image_scale"] - scale) < 1e-3 * scale
    torch.testing.assert_close(loss.total, sum(ascents) + cross_entropy(Scorer(vlm)(retain)), rtol=1e-4, atol=1e-5)


def test_without_both_kinds_of_questions_nothing_is_scaled(monkeypatch):
    for make in (lambda vlm: image_batch(vlm, 0), text_batch):
        vlm = tiny.make_vlm()
        step = StepBatch({"forget": make(vlm), "retain": image_batch(vlm, 5)})
        plain, _ = stepped(monkeypatch, METHODS.get("npo")(), step)
        found, loss = stepped(monkeypatch, METHODS.get("npo")(balance=True), step)
        assert loss.parts["image_scale"] == 1.0
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(plain, found, strict=True))
