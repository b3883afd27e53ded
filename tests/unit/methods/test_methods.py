"""What the papers' formulas say of each other, on fixed scores."""

import math

import pytest
import torch

from unsee.errors import ModelError
from unsee.losses import Scored, cross_entropy, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import Pair

PAIR = Pair({"forget": "forget", "retain": "retain"})


@pytest.fixture
def model():
    """A model that knows two batches by name."""
    item_N = torch.tensor([0, 0, 1])
    answers = {side: Scored(torch.randn(3, 7), torch.tensor([1, 2, 3]), item_N, 2) for side in PAIR.sides}
    return answers.__getitem__


def loss(name, model, reference, **options):
    return METHODS.get(name)(**options).loss(model, reference, PAIR).total.item()


def test_ascent_is_minus_the_cross_entropy(model):
    assert loss("gradient_ascent", model, None) == -cross_entropy(model("forget")).item()


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_difference_is_retain_minus_forget(model, weight):
    expected = weight * cross_entropy(model("retain")) - cross_entropy(model("forget"))
    assert loss("gradient_difference", model, None, retain_weight=weight) == pytest.approx(expected.item())


def test_divergence_minimisation_starts_as_ascent(model):
    ascent = loss("gradient_ascent", model, None)
    assert loss("kl_minimisation", model, model) == pytest.approx(ascent)
    moved = {side: Scored(-model(side).logits_NV, model(side).target_N, model(side).item_N, 2) for side in PAIR.sides}
    divergence = kl_divergence(moved["retain"].logits_NV, model("retain").logits_NV).item()
    assert loss("kl_minimisation", model, moved.__getitem__, retain_weight=3.0) == pytest.approx(
        ascent + 3 * divergence
    )


def test_preference_optimisation_starts_at_two_ln_two_over_beta(model):
    assert loss("npo", model, model, beta=0.2, retain_weight=0.0) == pytest.approx(2 * math.log(2) / 0.2)
    expected = 2 * math.log(2) / 0.2 + cross_entropy(model("retain")).item()
    assert loss("npo", model, model, beta=0.2, retain_weight=1.0) == pytest.approx(expected)


def test_prompting_names_the_people_in_any_instruction():
    method = METHODS.get("prompting")(instruction="Never speak of {names} or of {other}.")
    assert method.system_prompt(("Ada", "Bo")) == "Never speak of Ada, Bo or of {other}."


def test_a_side_that_was_not_asked_for_says_so():
    with pytest.raises(ModelError, match="no retain batch"):
        Pair({"forget": "forget"}).retain  # noqa: B018
