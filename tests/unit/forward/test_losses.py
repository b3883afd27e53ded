import math

import pytest
import torch

from unsee.forward import losses
from unsee.forward.losses import Scored, cross_entropy, kl_divergence, negative_preference

TARGET_N = torch.tensor([3, 1, 4, 1, 5])
ITEM_N = torch.tensor([0, 0, 1, 2, 2])


def score(logits_NV):
    """What it says of the answers, each place being one token's own."""
    return Scored(logits_NV, torch.arange(5), TARGET_N, ITEM_N, 3)


@pytest.fixture
def scored():
    return score(torch.randn(5, 7, requires_grad=True))


def test_log_probabilities_are_the_softmax_gathered_and_summed_per_answer(scored):
    by_hand = scored.logits_UV.log_softmax(-1)[range(5), TARGET_N]
    torch.testing.assert_close(scored.log_probability_N, by_hand)
    expected = torch.stack([by_hand[:2].sum(), by_hand[2], by_hand[3:].sum()])
    torch.testing.assert_close(scored.log_probability_I, expected)
    assert scored.length_I.tolist() == [2, 1, 2]


def test_cross_entropy_is_the_mean_over_tokens_and_the_vocabularys_logarithm_where_nothing_is_known(scored):
    torch.testing.assert_close(cross_entropy(scored), -scored.log_probability_N.mean())
    assert cross_entropy(score(torch.zeros(5, 7))).item() == pytest.approx(math.log(7))


def test_half_precision_logits_are_scored_in_single_precision(scored):
    assert score(scored.logits_UV.bfloat16()).log_probability_I.dtype == torch.float32


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
def test_negative_preference_is_two_ln_two_over_beta_at_the_reference(beta):
    assert negative_preference(torch.zeros(4), beta).item() == pytest.approx(2 * math.log(2) / beta)


def test_negative_preference_falls_to_zero_as_the_answer_is_forgotten():
    values = [negative_preference(torch.tensor([ratio]), 0.1).item() for ratio in (10.0, 0.0, -10.0, -100.0, -1000.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-6)


def gradient(loss, scored):
    (found,) = torch.autograd.grad(loss, scored.logits_UV)
    return found


def test_negative_preference_has_the_gradient_of_ascent_as_beta_goes_to_zero(scored):
    ascent = gradient(scored.log_probability_I.mean(), scored)
    away = scored.log_probability_I.detach() - torch.tensor([1.0, -2.0, 0.5])
    torch.testing.assert_close(gradient(negative_preference(scored.log_probability_I - away, 1e-6), scored), ascent)
    near = gradient(negative_preference(scored.log_probability_I - away, 1.0), scored)
    assert (near - ascent).abs().max() > 0.05


def test_negative_preference_has_exactly_the_gradient_of_ascent_at_the_reference(scored):
    ratio = scored.log_probability_I - scored.log_probability_I.detach()
    ascent = gradient(scored.log_probability_I.mean(), scored)
    torch.testing.assert_close(gradient(negative_preference(ratio, 0.7), scored), ascent)


def test_divergence_is_zero_at_the_reference_and_positive_elsewhere():
    logits, other = torch.randn(2, 5, 7)
    assert kl_divergence(score(logits), score(logits)).item() == 0
    assert kl_divergence(score(logits), score(logits + 3)).item() == pytest.approx(0, abs=1e-6)  # the same distribution
    assert kl_divergence(score(logits), score(other)).item() > 0


def test_divergence_is_of_the_reference_from_the_model_per_token():
    reference, current = torch.randn(2, 5, 7)
    p, q = reference.softmax(-1), current.softmax(-1)
    by_hand = (p * (p / q).log()).sum() / 5
    assert kl_divergence(score(reference), score(current)).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_place_that_several_tokens_share_counts_for_each_of_them():
    once, reference = torch.randn(2, 3, 7)
    source_N = torch.tensor([0, 1, 0, 1, 2])

    def losses(shared):
        logits = once.clone().requires_grad_()
        if shared:
            now, before = (Scored(rows, source_N, TARGET_N, ITEM_N, 3) for rows in (logits, reference))
        else:
            now, before = score(logits[source_N]), score(reference[source_N])
        kept_N = torch.tensor([True, False, True, True, False])
        values = now.log_probability_I.square().sum(), kl_divergence(before, now)
        part = kl_divergence(before.only(kept_N), now.only(kept_N))
        return [*values, part, *(torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (*values, part))]

    for found, expected in zip(losses(shared=True), losses(shared=False), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_in_pieces_give_the_same_log_probabilities_and_gradients(monkeypatch, dtype):
    source_N = torch.tensor([0, 2, 2, 5, 1])  # a position that predicts two tokens, and some that predict none
    logits = (5 * torch.randn(6, 7)).to(dtype).requires_grad_(True)
    scored = Scored(logits, source_N, TARGET_N, ITEM_N, 3)
    weights = torch.randn(5)
    (whole_gradient,) = torch.autograd.grad((weights * scored.log_probability_N).sum(), logits)
    whole = scored.log_probability_N
    monkeypatch.setattr(losses, "PIECE", 15)  # two positions a piece
    torch.testing.assert_close(scored.log_probability_N, whole)
    (gradient,) = torch.autograd.grad((weights * scored.log_probability_N).sum(), logits)
    torch.testing.assert_close(gradient, whole_gradient)


@pytest.mark.slow
def test_logits_in_pieces_take_a_copy_and_a_half_of_them_less(monkeypatch):
    def peak(piece):
        monkeypatch.setattr(losses, "PIECE", piece)
        logits = torch.randn(256, 2048, requires_grad=True)  # 2 MiB
        source_N = torch.arange(256)
        with torch.profiler.profile(profile_memory=True) as profile:
            Scored(logits, source_N, source_N, source_N, 256).log_probability_I.mean().backward()
        held = most = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                most = max(most, held)
        return most

    assert peak(2**30) - peak(2**14) > 1.5 * 256 * 2048 * 4
