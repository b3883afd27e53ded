"""Local NPO: which tokens count, and what it is where nobody, or everybody, could tell."""

import math
from dataclasses import replace

import pytest
import torch

from unsee.forward.losses import Scored, cross_entropy, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import StepBatch
from unsee.methods.local_npo import excess, prior

OTHERS = ("stand_in", "swapped")
ITEMS = torch.tensor([0, 0, 0, 1, 1])
ANSWER = torch.tensor([1, 2, 3, 4, 5])


@pytest.fixture
def scores():
    """Scores of the same two answers about the person and about two others, and of retain answers."""
    sides = ("forget", *OTHERS, "retain")
    return {side: Scored(torch.randn(5, 8), torch.arange(5), ANSWER, ITEMS, 2) for side in sides}


def loss(model, reference, **options):
    method = METHODS.get("local_npo")(**options)
    return method.loss(model.__getitem__, reference.__getitem__, StepBatch({side: side for side in method.sides})).total


def plain_npo(model, reference, beta):
    method = METHODS.get("npo")(beta=beta, retain_weight=0.0)
    return method.loss(model.__getitem__, reference.__getitem__, StepBatch({"forget": "forget"})).total


def other_model(scores):
    return {side: replace(one, logits_UV=1.7 * one.logits_UV.flip(1)) for side, one in scores.items()}


ALONE = {"local_weight": 0.0, "hold_weight": 0.0, "retain_weight": 0.0}


def test_where_others_never_give_the_answer_it_is_npo(scores):
    unlikely = {side: replace(scores[side], logits_UV=scores[side].logits_UV - 1e4 * one_hot()) for side in OTHERS}
    reference, model = scores | unlikely, other_model(scores)
    assert excess(scores["forget"], prior(scores["forget"], unlikely["stand_in"])).tolist() == [1.0] * 5
    found = loss(model, reference, beta=0.7, **ALONE)
    assert found.item() == pytest.approx(plain_npo(model, reference, 0.7).item(), rel=1e-5)


def one_hot():
    return torch.nn.functional.one_hot(ANSWER, 8).float()


def test_where_others_get_the_same_answers_nothing_is_pushed_down_and_all_is_held(scores):
    reference = scores | {side: scores["forget"] for side in OTHERS}
    model = other_model(scores)
    assert excess(scores["forget"], prior(scores["forget"], scores["forget"])).abs().max() < 1e-5
    found = loss(model, reference, beta=0.5, **ALONE)
    assert found.item() == pytest.approx(2 * math.log(2) / 0.5, rel=1e-5)
    held = loss(model, reference, beta=0.5, **ALONE | {"hold_weight": 3.0}) - found
    assert held.item() == pytest.approx(3 * kl_divergence(scores["forget"], model["forget"]).item(), rel=1e-4)


def test_at_the_reference_it_is_two_ln_two_over_beta_the_distance_from_the_prior_and_the_retain_loss(scores):
    prior_NV = scores["stand_in"].logits_UV.softmax(-1)
    p_NV = scores["forget"].logits_UV.softmax(-1)
    wording_N = (prior_NV[range(5), ANSWER] / p_NV[range(5), ANSWER]).clamp(max=1)
    distance_N = (prior_NV * (prior_NV / p_NV).log()).sum(1)
    expected = (
        2 * math.log(2) / 0.5 + (wording_N * distance_N).sum() / wording_N.sum() + cross_entropy(scores["retain"])
    )
    found = loss(scores, scores, beta=0.5, hold_weight=1.0, alternatives=0.0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def held(model, scores, **options):
    """The hold term alone, times the share of the wording."""
    with_it, without = (loss(model, scores, **ALONE | {"hold_weight": weight}, **options) for weight in (1.0, 0.0))
    wording_N = 1 - excess(scores["forget"], prior(scores["forget"], scores["stand_in"]))
    return (with_it - without) * wording_N.sum()


def test_an_answer_less_likely_than_ignorance_makes_it_is_held_whole(scores):
    prior_NV = prior(scores["forget"], scores["stand_in"])
    gone = replace(scores["forget"], logits_UV=scores["forget"].logits_UV - 9 * one_hot())
    distance_N = (prior_NV * (prior_NV.log() - gone.logits_UV.log_softmax(-1))).sum(1)
    found = held(scores | {"forget": gone}, scores, alternatives=0.0)
    assert found.item() == pytest.approx(distance_N.sum().item(), rel=1e-4)


@pytest.mark.parametrize(("stop", "pushed"), [(0.0, [True] * 5), (0.5, [False, True, False, True, True])])
def test_the_push_on_a_token_ends_at_a_part_of_what_ignorance_makes_it(scores, stop, pushed):
    sure = {"forget": replace(scores["forget"], logits_UV=9 * one_hot())}
    unsure = {side: replace(scores[side], logits_UV=torch.zeros(5, 8)) for side in OTHERS}  # a prior of 1/8
    likelihood_N = torch.tensor([0.06, 0.065, 0.001, 0.2, 0.9])  # half of the prior is .0625
    probability_NV = one_hot() * likelihood_N[:, None] + (1 - one_hot()) * ((1 - likelihood_N) / 7)[:, None]
    logits_NV = probability_NV.log().requires_grad_()
    model = {"forget": replace(scores["forget"], logits_UV=logits_NV)}
    found, without_end = (
        loss(scores | model, scores | sure | unsure, stop=one, beta=0.05, **ALONE) for one in (stop, 0.0)
    )
    found.backward()
    assert (logits_NV.grad.abs().sum(1) > 1e-4).tolist() == pushed
    assert found.item() == without_end.item()


def test_what_is_said_instead_is_held_to_what_is_said_of_others_however_likely_the_answer(scores):
    prior_NV = prior(scores["forget"], scores["stand_in"])
    excess_N = excess(scores["forget"], prior_NV)
    others = [[v for v in range(8) if v != answer] for answer in ANSWER]
    wanted_NV = torch.stack([prior_NV[n, kept] / prior_NV[n, kept].sum() for n, kept in enumerate(others)])
    for push in (0.0, 3.0):
        model = replace(scores["forget"], logits_UV=1.7 * scores["forget"].logits_UV.flip(1) + push * one_hot())
        said_NV = torch.stack([model.logits_UV[n, kept].log_softmax(-1) for n, kept in enumerate(others)])
        distance_N = (wanted_NV * (wanted_NV.log() - said_NV)).sum(1)
        found = [held(scores | {"forget": model}, scores, alternatives=weight) for weight in (2.0, 0.0)]
        assert (found[0] - found[1]).item() == pytest.approx(2 * (excess_N * distance_N).sum().item(), rel=1e-3)


def test_the_hold_term_stays_bounded_where_answers_are_nothing_but_knowledge(scores):
    sure = {"forget": replace(scores["forget"], logits_UV=30 * one_hot())}
    strangers = {side: replace(scores[side], logits_UV=-30 * one_hot()) for side in OTHERS}
    reference = scores | sure | strangers
    gone = {"forget": replace(scores["forget"], logits_UV=-9 * one_hot())}
    found = [loss(scores | gone, reference, **ALONE | {"hold_weight": weight}) for weight in (1.0, 0.0)]
    assert 0 <= (found[0] - found[1]).item() < 100


def test_the_local_term_is_the_divergence_on_answers_about_somebody_else(scores):
    model = other_model(scores)
    without, with_it = (loss(model, scores, local_weight=weight) for weight in (0.0, 2.0))
    expected = 2 * kl_divergence(scores["swapped"], model["swapped"])
    assert (with_it - without).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_name_is_what_only_knowing_the_person_tells_and_takes_no_part_in_the_prior(scores):
    named = replace(scores["stand_in"], target_N=torch.tensor([1, 7, 3, 4, 5]))
    prior_NV = prior(scores["forget"], named)
    assert not prior_NV[1].any()
    assert torch.allclose(prior_NV[[0, 2, 3, 4]].sum(1), torch.ones(4))
    assert excess(scores["forget"], prior_NV)[1] == 1
