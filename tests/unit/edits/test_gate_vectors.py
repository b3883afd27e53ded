import privacy
import pytest
import tiny
import torch

from unsee.edits.gate_vectors import (
    Steered,
    flips,
    gate_above,
    gate_of_share,
    published_vectors,
    random_gate,
    scaled,
    sparse_vectors,
)
from unsee.edits.pair_rows import make_sheet, queries
from unsee.forward.hooks import frozen


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def steered(vlm):
    sheet = make_sheet(vlm, [queries(privacy.make_pairs(1, 3)), queries(privacy.make_pairs(2, 2)[2:])])
    with frozen(vlm.model):
        yield Steered(vlm, sheet, [0], combine=scaled)


def sparse(steered, sparsity, steps=10):
    return sparse_vectors(steered, 1, benign_weight=1.25, sparsity=sparsity, rate=0.1, steps=steps)


def test_sparsity_leaves_dimensions_exactly_alone(steered):
    changed = [float((sparse(steered, sparsity) != 1).float().mean()) for sparsity in (0.0, 0.3, 0.999)]
    assert changed[0] == 1.0
    assert 0.05 < changed[1] < 0.8
    assert changed[2] < 0.1


def test_sparse_factors_lower_the_loss(steered):
    factors = sparse(steered, 0.05, steps=25)
    with torch.no_grad():
        plain = steered.sheet.loss_B(steered.score(torch.ones(2, 1, 48)), 1.25)
        after = steered.sheet.loss_B(steered.score(factors), 1.25)
    assert (after < plain).all()


def test_pictures_learn_as_if_alone(vlm, steered):
    alone = make_sheet(vlm, [queries(privacy.make_pairs(2, 2)[2:])])
    one = sparse(Steered(vlm, alone, [0], combine=scaled), 0.3, steps=3)
    assert torch.allclose(one[0], sparse(steered, 0.3, steps=3)[1], atol=1e-3)


def test_published_factors_depend_on_epsilon_as_the_published_numbers_do(steered):
    turned = {
        epsilon: float(flips(published_vectors(steered, 1, benign_weight=1.25, epsilon=epsilon)).mean())
        for epsilon in (1e-4, 1e-3, 1e2)
    }
    assert turned[1e-4] > turned[1e-3] > turned[1e2] == 0


def test_frequencies_are_the_share_of_pictures_in_which_a_dimension_turns():
    vectors = torch.tensor([[[-0.1, 0.2, 0.0]], [[-0.4, -0.9, 0.1]]])
    assert torch.equal(flips(vectors), torch.tensor([[1.0, 0.5, 0.0]]))


def test_a_threshold_is_strict():
    assert gate_above(torch.tensor([0.3, 0.31, 0.0]), 0.3).tolist() == [False, True, False]


def test_a_gate_of_a_share_holds_the_most_changed_dimensions():
    strength = torch.tensor([0.1, 0.0, 0.5, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert gate_of_share(strength, 0.2).nonzero()[:, 0].tolist() == [2, 3]
    assert gate_of_share(strength, 0.01).nonzero()[:, 0].tolist() == [2]
    assert int(gate_of_share(strength, 1.0).sum()) == 3  # the rest was not changed at all


def test_a_random_gate_is_as_large_and_the_same_for_the_same_seed():
    gate = torch.arange(48) < 7
    drawn = random_gate(gate, "0 a")
    assert int(drawn.sum()) == 7
    assert torch.equal(drawn, random_gate(gate, "0 a"))
    assert not torch.equal(drawn, random_gate(gate, "1 a"))
