"""Identities between the formulas of the papers, on fixed scores."""

import math
from dataclasses import replace

import pytest
import torch

from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError, ModelError
from unsee.forward.losses import Scored, cross_entropy, kl_divergence, summed_divergence
from unsee.methods import METHODS
from unsee.methods.base import SWAPPED, LossMethod, StepBatch

SIDES = ("forget", "retain", "refusal")


@pytest.fixture
def model():
    """A model that knows two batches by name."""
    item_N = torch.tensor([0, 0, 1])
    answers = {side: Scored(torch.randn(3, 7), torch.arange(3), torch.tensor([1, 2, 3]), item_N, 2) for side in SIDES}
    return answers.__getitem__


def of_step(method, model, reference):
    return method.loss(model, reference, StepBatch({side: side for side in method.sides}))


def loss(name, model, reference, **options):
    return of_step(METHODS.get(name)(**options), model, reference).total.item()


def test_gradient_ascent_is_minus_the_cross_entropy(model):
    assert loss("gradient_ascent", model, None) == -cross_entropy(model("forget")).item()


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_gradient_difference_is_retain_minus_forget(model, weight):
    expected = weight * cross_entropy(model("retain")) - cross_entropy(model("forget"))
    assert loss("gradient_difference", model, None, retain_weight=weight) == pytest.approx(expected.item())


def test_kl_minimisation_starts_as_gradient_ascent(model):
    ascent = loss("gradient_ascent", model, None)
    assert loss("kl_minimisation", model, model) == pytest.approx(ascent)
    moved = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in SIDES}
    divergence = kl_divergence(moved["retain"], model("retain")).item()
    assert loss("kl_minimisation", model, moved.__getitem__, retain_weight=3.0) == pytest.approx(
        ascent + 3 * divergence
    )


def test_npo_starts_at_two_ln_two_over_beta(model):
    assert loss("npo", model, model, beta=0.2, retain_weight=0.0) == pytest.approx(2 * math.log(2) / 0.2)
    expected = 2 * math.log(2) / 0.2 + cross_entropy(model("retain")).item()
    assert loss("npo", model, model, beta=0.2, retain_weight=1.0) == pytest.approx(expected)


def about_others(batches):
    """Scores of the same two answers about different people."""
    item_N = torch.tensor([0, 0, 1])
    return {side: Scored(torch.randn(3, 7), torch.arange(3), torch.tensor([1, 2, 3]), item_N, 2) for side in batches}


def test_ignorance_is_0_for_a_model_that_answers_as_about_somebody_else():
    scores = about_others(["swapped", "retain"])
    model = (scores | {"forget": scores["swapped"]}).__getitem__
    assert loss("ignorance", model, model, num_others=1) == pytest.approx(0, abs=1e-6)


def test_ignorance_ends_at_the_mean_of_what_others_get():
    """The gradient of the loss is 0 where the probabilities are the mean of those of the others: the prior."""
    scores = about_others(["swapped", "swapped_2", "swapped_3", "retain"])
    prior_NV = torch.stack([scores[side].logits_UV.softmax(-1) for side in SWAPPED[:3]]).mean(0)
    logits = prior_NV.log().requires_grad_()
    model = (scores | {"forget": replace(scores["swapped"], logits_UV=logits)}).__getitem__
    method = METHODS.get("ignorance")(num_others=3, others_weight=0.0, retain_weight=0.0)
    of_step(method, model, (scores | {"forget": scores["swapped"]}).__getitem__).total.backward()
    assert logits.grad.abs().max() < 1e-6


def test_ignorance_leaves_out_what_the_answers_do_not_share():
    scores = about_others(["forget", "swapped", "retain"])
    other = replace(scores["swapped"], target_N=torch.tensor([1, 5, 3]))  # a name in the second place
    moved = replace(other, logits_UV=other.logits_UV + torch.tensor([0.0, 1.0, 0.0])[:, None] * torch.randn(7))
    values = {
        loss("ignorance", scores.__getitem__, (scores | {"swapped": one}).__getitem__, num_others=1, others_weight=0.0)
        for one in (other, moved)
    }
    assert len(values) == 1


def test_ignorance_holds_the_name_by_its_weight():
    scores = about_others(["forget", "swapped", "retain"])
    other = replace(scores["swapped"], target_N=torch.tensor([1, 5, 3]))  # a name in the second place
    moved = replace(scores["forget"], logits_UV=-scores["forget"].logits_UV)
    model = (scores | {"forget": moved, "swapped": other}).__getitem__
    without, light, heavy = (
        loss("ignorance", model, (scores | {"swapped": other}).__getitem__, num_others=1, name_weight=weight)
        for weight in (0.0, 1.0, 4.0)
    )
    name = torch.tensor([1])
    assert light - without == pytest.approx(summed_divergence(scores["forget"], moved, name, name).item(), rel=1e-4)
    assert heavy - without == pytest.approx(4 * (light - without), rel=1e-4)


def log_probabilities(scored):
    """Of each token, by hand."""
    return scored.logits_UV.log_softmax(-1)[range(3), scored.target_N]


@pytest.mark.parametrize("name", ["gradient_difference", "kl_minimisation"])
def test_the_losses_of_alternating_sides_sum_to_the_joint_loss(model, name):
    moved = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in SIDES}.__getitem__
    method = METHODS.get(name)(schedule="alternating", retain_weight=1.7)
    halves = [method.loss(model, moved, StepBatch({side: side})) for side in ("forget", "retain")]
    assert halves[0].total.item() == pytest.approx(-cross_entropy(model("forget")).item())
    assert sum(half.total.item() for half in halves) == pytest.approx(loss(name, model, moved, retain_weight=1.7))
    assert [("forget" in half.parts) for half in halves] == [True, False]


def test_batchmean_sums_the_divergence_over_tokens_and_divides_by_sequences(model):
    moved = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in SIDES}.__getitem__
    p, q = moved("retain").logits_UV.softmax(-1), model("retain").logits_UV.softmax(-1)
    by_hand = (p * (p / q).log()).sum().item() / 2
    ascent = loss("gradient_ascent", model, None)
    found = loss("kl_minimisation", model, moved, reduction="batchmean", cross_entropy_weight=1.0)
    assert found == pytest.approx(ascent + by_hand + cross_entropy(model("retain")).item(), rel=1e-5)
    assert loss("kl_minimisation", model, moved) == pytest.approx(ascent + by_hand * 2 / 3, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.4])
def test_npo_of_a_batch_has_one_ratio_of_mean_cross_entropies(model, beta):
    reference = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in SIDES}.__getitem__
    now, before = (-log_probabilities(which("forget")).mean().item() for which in (model, reference))
    expected = -(2 / beta) * math.log(1 / (1 + math.exp(-beta * (now - before))))
    found = loss("npo", model, reference, beta=beta, reduction="batch", retain_weight=0.0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_npo_per_token_has_one_ratio_of_geometric_means_for_each_answer(model):
    reference = {side: replace(model(side), logits_UV=-model(side).logits_UV) for side in SIDES}.__getitem__
    now, before = (log_probabilities(which("forget")).tolist() for which in (model, reference))
    ratios = [sum(now[:2]) / 2 - sum(before[:2]) / 2, now[2] - before[2]]
    expected = sum(-(2 / 0.3) * math.log(1 / (1 + math.exp(0.3 * ratio))) for ratio in ratios) / 2
    found = loss("npo", model, reference, beta=0.3, reduction="answer_mean", retain_weight=0.0)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found != pytest.approx(loss("npo", model, reference, beta=0.3, retain_weight=0.0))


def moved(model):
    """Another model with the same answers."""
    return {side: replace(model(side), logits_UV=1.5 * model(side).logits_UV.flip(1)) for side in SIDES}.get


def test_simnpo_has_the_mean_log_probability_of_each_answer_in_place_of_a_ratio(model):
    now = log_probabilities(model("forget")).tolist()
    rewards = [2.0 * mean + 0.7 for mean in (sum(now[:2]) / 2, now[2])]
    expected = sum((2 / 2.0) * math.log(1 + math.exp(reward)) for reward in rewards) / 2
    found = loss("simnpo", model, None, beta=2.0, margin=0.7, retain_weight=0.0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_simnpo_is_npo_per_token_with_a_reference_that_is_sure_of_every_answer(model):
    scored = model("forget")
    sure = replace(scored, logits_UV=torch.zeros(3, 7).scatter(1, scored.target_N[:, None], 1e4))
    npo = loss("npo", model, {"forget": sure}.get, beta=0.3, reduction="answer_mean", retain_weight=0.0)
    assert loss("simnpo", model, None, beta=0.3, retain_weight=0.0) == pytest.approx(npo, rel=1e-6)


def test_undial_is_least_where_only_the_logits_of_the_true_tokens_are_lower_by_its_strength(model):
    before = model("forget").logits_UV
    wanted = before.clone()
    wanted[range(3), model("forget").target_N] -= 4.0
    logits = wanted.clone().requires_grad_(True)
    trained = {**{side: model(side) for side in SIDES}, "forget": replace(model("forget"), logits_UV=logits)}
    total = of_step(METHODS.get("undial")(strength=4.0, retain_weight=0.0), trained.get, model).total
    total.backward()
    entropy = -(wanted.softmax(-1) * wanted.log_softmax(-1)).sum(-1).mean()
    assert total.item() == pytest.approx(entropy.item(), rel=1e-5)
    assert logits.grad.abs().max() < 1e-6
    assert loss("undial", model, model, strength=4.0, retain_weight=0.0) > total.item() + 0.05


def forget_gradient(name, model, **options):
    """The gradient of the loss by the logits of the forget side."""
    logits = model("forget").logits_UV.clone().requires_grad_(True)
    trained = {**{side: model(side) for side in SIDES}, "forget": replace(model("forget"), logits_UV=logits)}
    of_step(METHODS.get(name)(retain_weight=0.0, **options), trained.get, None).total.backward()
    return logits.grad


@pytest.mark.parametrize(
    ("name", "options", "weight"),
    [
        ("wga", {"alpha": 1.0}, lambda p: p),
        ("wga", {"alpha": 2.5}, lambda p: p**2.5),
        ("wga", {"alpha": 0.0}, torch.ones_like),
        ("satimp", {}, lambda p: p**5 * (1 - p)),
        ("satimp", {"saturation": 0.0, "importance": 0.0}, torch.ones_like),
    ],
)
def test_a_weighted_ascent_has_the_gradient_of_ascent_times_the_weight_of_each_token(model, name, options, weight):
    weights = weight(log_probabilities(model("forget")).exp())
    plain = forget_gradient("gradient_difference", model)
    torch.testing.assert_close(forget_gradient(name, model, **options), weights[:, None] * plain)


def test_idk_is_the_cross_entropy_of_refusals_and_of_what_is_kept(model):
    expected = cross_entropy(model("refusal")) + 0.3 * cross_entropy(model("retain"))
    assert loss("idk", model, None, retain_weight=0.3) == pytest.approx(expected.item())


def test_dpo_starts_at_two_ln_two_over_beta_and_counts_only_the_difference_of_both_answers(model):
    assert loss("dpo", model, model, beta=0.2, retain_weight=0.0) == pytest.approx(2 * math.log(2) / 0.2)
    other = moved(model)
    ratios = {
        side: (model(side).log_probability_I - other(side).log_probability_I).tolist() for side in ("forget", "refusal")
    }
    gaps = [bad - good for bad, good in zip(ratios["forget"], ratios["refusal"], strict=True)]
    expected = sum((2 / 0.2) * math.log(1 + math.exp(0.2 * gap)) for gap in gaps) / 2
    assert loss("dpo", model, other, beta=0.2, retain_weight=0.0) == pytest.approx(expected, rel=1e-5)


def test_dpo_with_refusals_that_stay_is_npo(model):
    other = {**{side: moved(model)(side) for side in SIDES}, "refusal": model("refusal")}.get
    assert loss("dpo", model, other, beta=0.4) == pytest.approx(loss("npo", model, other, beta=0.4))


TRAINED = [name for name in METHODS.names() if issubclass(METHODS.get(name), LossMethod)]


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_has_steps_or_epochs_and_not_both(name):
    assert METHODS.get(name)(steps=0, epochs=2).epochs == 2
    for options in ({"epochs": 2}, {"steps": 0}):
        with pytest.raises(ConfigError, match=f"^method.{name}: steps and epochs: give exactly one"):
            build_dataclass(METHODS.get(name), options, f"method.{name}")


def test_prompting_inserts_the_names_into_any_instruction():
    method = METHODS.get("prompting")(instruction="Never speak of {names} or of {other}.")
    assert method.system_prompt(("Ada", "Bo")) == "Never speak of Ada, Bo or of {other}."


def test_a_side_that_a_step_does_not_have_is_an_error():
    with pytest.raises(ModelError, match="no retain batch"):
        StepBatch({"forget": "forget"}).retain  # noqa: B018
