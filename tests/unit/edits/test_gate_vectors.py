import privacy
import pytest
import tiny
import torch

from unsee.edits.gate_vectors import flip_share, mean_change, published_vectors, sparse_vectors
from unsee.edits.pair_rows import make_pair_rows, queries
from unsee.edits.steering import Steered, scale
from unsee.forward.hooks import frozen


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def steered(vlm):
    rows = make_pair_rows(vlm, [queries(privacy.make_pairs(1, 3)), queries(privacy.make_pairs(2, 2)[2:])])
    with frozen(vlm.model):
        yield Steered(vlm, rows, [0], combine=scale)


def sparse(steered, sparsity, steps=10):
    return sparse_vectors(steered, benign_weight=1.25, sparsity=sparsity, rate=0.1, steps=steps)


def test_with_more_sparsity_more_factors_stay_exactly_1(steered):
    changed = [float((sparse(steered, sparsity) != 1).float().mean()) for sparsity in (0.0, 0.3, 0.999)]
    assert changed[0] == 1.0
    assert 0.05 < changed[1] < 0.8
    assert changed[2] < 0.1


def test_sparse_factors_lower_the_loss(steered):
    factors = sparse(steered, 0.05, steps=25)
    with torch.no_grad():
        plain = steered.rows.loss_B(steered.score(torch.ones(2, 1, 48)), 1.25)
        after = steered.rows.loss_B(steered.score(factors), 1.25)
    assert (after < plain).all()


def test_the_vector_of_a_picture_does_not_depend_on_the_pictures_beside_it(vlm, steered):
    alone = make_pair_rows(vlm, [queries(privacy.make_pairs(2, 2)[2:])])
    one = sparse(Steered(vlm, alone, [0], combine=scale), 0.3, steps=3)
    assert torch.allclose(one[0], sparse(steered, 0.3, steps=3)[1], atol=1e-3)


def test_with_a_larger_epsilon_fewer_published_factors_become_negative(steered):
    turned = {
        epsilon: float(flip_share(published_vectors(steered, benign_weight=1.25, epsilon=epsilon)).mean())
        for epsilon in (1e-4, 1e-3, 1e2)
    }
    assert turned[1e-4] > turned[1e-3] > turned[1e2] == 0


def test_the_flip_share_is_the_share_of_pictures_with_a_negative_factor():
    vectors = torch.tensor([[[-0.1, 0.2, 0.0]], [[-0.4, -0.9, 0.1]]])
    assert torch.equal(flip_share(vectors), torch.tensor([[1.0, 0.5, 0.0]]))


def test_the_mean_change_is_the_mean_distance_from_1():
    vectors = torch.tensor([[[1.0, 0.5, 3.0]], [[1.0, 1.5, 1.0]]])
    assert torch.equal(mean_change(vectors), torch.tensor([[0.0, 0.5, 1.0]]))
