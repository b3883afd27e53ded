"""The losses on plain tensors: the formulas of the papers, in anybody's loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from unsee import losses
from unsee.core.errors import ConfigError, UnseeError
from unsee.methods import METHODS
from unsee.methods.base import LossMethod

BATCH, LENGTH, VOCABULARY, WIDTH = 3, 6, 11, 4


def make_pass(seed, **changes):
    """A pass whose rows have prompts and answers of other lengths."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(VOCABULARY, (BATCH, LENGTH), generator=random)
    for row, prompt in enumerate((1, 2, 3)):
        labels[row, :prompt] = -100
    draw = lambda width: torch.randn(BATCH, LENGTH, width, generator=random)  # noqa: E731
    return losses.Pass(
        **{"logits": draw(VOCABULARY).requires_grad_(), "labels": labels, "reference": draw(VOCABULARY),
           "hidden": {1: draw(WIDTH).requires_grad_()}, "reference_hidden": {1: draw(WIDTH)}} | changes
    )  # fmt: skip


def call(name, sides, **options):
    """The loss of a method over its sides, the first of which is given as tensors."""
    first, *others = METHODS.get(name)(**options).sides
    tensors = vars(sides[first])
    given = {name: tensors[name] for name in ("hidden", "reference_hidden")}
    return getattr(losses, name)(
        tensors["logits"], tensors["labels"], tensors["reference"], **given, **{o: sides[o] for o in others}, **options
    )


@pytest.fixture
def sides():
    names = ("forget", "retain", "refusal", "swapped", "swapped_2", "swapped_3", "swapped_4", "stand_in")
    return {name: make_pass(seed) for seed, name in enumerate(names)}


@pytest.mark.parametrize("name", losses.names())
def test_every_loss_is_a_number_whose_gradient_reaches_the_model(name, sides):
    loss = call(name, sides)
    loss.backward()
    moved = [part.grad for side in sides.values() for part in (side.logits, side.hidden[1]) if part.grad is not None]
    assert loss.shape == () and loss.isfinite()
    assert any(gradient.abs().sum() > 0 for gradient in moved)


def test_gradient_ascent_is_minus_the_loss_of_transformers(sides):
    one = sides["forget"]
    usual = F.cross_entropy(one.logits[:, :-1].flatten(0, 1), one.labels[:, 1:].flatten(), ignore_index=-100)
    torch.testing.assert_close(losses.gradient_ascent(one.logits, one.labels), -usual)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_npo_at_the_reference_is_two_ln_two_over_beta(beta, sides):
    one = sides["forget"]
    loss = losses.npo(one.logits, one.labels, one.logits.detach(), beta=beta)
    torch.testing.assert_close(loss.item(), 2 * math.log(2) / beta, rtol=1e-5, atol=0)


def test_the_retain_side_is_added_with_its_weight(sides):
    one, kept = sides["forget"], sides["retain"]
    alone = losses.npo(one.logits, one.labels, one.reference)
    usual = F.cross_entropy(kept.logits[:, :-1].flatten(0, 1), kept.labels[:, 1:].flatten(), ignore_index=-100)
    both = losses.npo(one.logits, one.labels, one.reference, retain=kept, retain_weight=3.0)
    torch.testing.assert_close(both, alone + 3 * usual)


@pytest.mark.parametrize("name", ["simnpo", "wga", "undial"])
def test_a_retain_weight_of_0_needs_no_retain_side(name, sides):
    one = sides["forget"]
    alone = getattr(losses, name)(one.logits, one.labels, one.reference)
    with_side = getattr(losses, name)(one.logits, one.labels, one.reference, retain=sides["retain"], retain_weight=0.0)
    torch.testing.assert_close(alone, with_side)


def test_sides_that_belong_together_row_by_row_have_as_many_rows(sides):
    one, refusal = sides["forget"], sides["refusal"]
    fewer = losses.Pass(refusal.logits[:2], refusal.labels[:2], refusal.reference[:2])
    with pytest.raises(ConfigError, match="rows"):
        losses.dpo(one.logits, one.labels, one.reference, refusal=fewer)


def test_padding_changes_nothing(sides):
    one = sides["forget"]
    more = {name: F.pad(getattr(one, name), (0, 0, 0, 4)) for name in ("logits", "reference")}
    labels = F.pad(one.labels, (0, 4), value=-100)
    torch.testing.assert_close(
        losses.npo(more["logits"], labels, more["reference"]), losses.npo(one.logits, one.labels, one.reference)
    )


def test_a_method_that_is_more_than_a_loss_is_refused_by_name():
    others = [name for name in METHODS.names() if name not in losses.names()]
    assert {"mmunlearner", "task_vector", "rome", "prompting"} <= set(others)
    for name in others:
        with pytest.raises(AttributeError, match=f"losses.{name}: this method is more than a loss"):
            getattr(losses, name)
        assert not hasattr(losses, name)
    assert all(issubclass(METHODS.get(name), LossMethod) for name in losses.names())


def test_a_name_that_no_method_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"nppo.*did you mean 'npo'"):
        losses.nppo  # noqa: B018


BAD = {
    "no tensors at all": ("npo", {"logits": None, "labels": None}, {}, "losses.npo: logits must be of type Tensor"),
    "a side with a typing error": ("npo", {}, {"retian": make_pass(1)}, "did you mean 'retain'"),
    "labels that are true or false": (
        "npo",
        {"labels": torch.ones(BATCH, LENGTH).bool()},
        {},
        "labels must hold whole numbers, got torch.bool",
    ),
    "logits that are whole numbers": (
        "npo",
        {"logits": torch.ones(BATCH, LENGTH, VOCABULARY).int()},
        {},
        "logits must hold floating-point numbers",
    ),
    "states that are no tensor": ("rmu", {"hidden": {1: None}, "retain": make_pass(1)}, {}, "hidden must be of type"),
    "states of another layer": (
        "rmu",
        {"hidden": {2: torch.ones(BATCH, LENGTH, WIDTH)}, "retain": make_pass(1)},
        {},
        "the same layers",
    ),
    "an option with a typing error": ("npo", {}, {"betta": 1.0}, "beta"),
    "a side the method does not look at": ("gradient_ascent", {"retain": make_pass(1)}, {}, "retain"),
    "a side that is missing": ("dpo", {"retain": make_pass(1)}, {}, "refusal"),
    "a side that is no pass": ("npo", {"retain": torch.ones(2)}, {}, "Pass"),
    "no reference": ("npo", {"reference": None}, {}, "reference"),
    "no hidden states": ("rmu", {"hidden": {}, "retain": make_pass(1)}, {}, "hidden"),
    "labels of other rows": ("gradient_ascent", {"labels": torch.ones(2, 2).long()}, {}, "labels"),
    "labels of a padding that is not -100": (
        "gradient_ascent",
        {"labels": torch.full((BATCH, LENGTH), -1)},
        {},
        "-100",
    ),
    "labels beyond the vocabulary": ("gradient_ascent", {"labels": torch.full((BATCH, LENGTH), 99)}, {}, "labels"),
    "labels that are no whole numbers": ("gradient_ascent", {"labels": torch.zeros(BATCH, LENGTH)}, {}, "whole"),
    "logits of one row": ("gradient_ascent", {"logits": torch.ones(LENGTH, VOCABULARY)}, {}, "logits"),
    "a list": ("gradient_ascent", {"logits": [[1.0]]}, {}, "losses.gradient_ascent: logits must be of type Tensor"),
    "a reference with other tokens": ("npo", {"reference": torch.ones(BATCH, LENGTH, 20)}, {}, "reference"),
    "an option of a training": ("npo", {}, {"epochs": 3}, "training"),
    "nothing to score": ("gradient_ascent", {"labels": torch.full((BATCH, LENGTH), -100)}, {}, "scored"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_computed_is_one_sentence(case):
    name, changes, options, told = BAD[case]
    tensors = vars(make_pass(0)) | changes
    with pytest.raises(UnseeError, match=told):
        getattr(losses, name)(**tensors, **options)
