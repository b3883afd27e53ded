import privacy
import pytest
import tiny
import torch
from damage import flipped
from leftovers import files_in

from unsee.core.errors import DataError
from unsee.edits.keys import (
    add_ridge,
    least_squares,
    null_space_projection,
    projected_least_squares,
    rank_one,
    refusing_shifts_BD,
    second_moment,
    spread_over_layers,
    subject_keys_BF,
    subject_states_BD,
)
from unsee.edits.pair_rows import make_pair_rows, queries
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import linear_module, temporary_weights, weights_of
from unsee.forward.hooks import capture
from unsee.runtime.cache import Cache
from unsee.training.train import Scorer

TEXTS = tuple(tiny.QUESTIONS + tiny.ANSWERS)


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def rows(vlm):
    return make_pair_rows(vlm, [queries(privacy.make_pairs(1, 2)), queries(privacy.make_pairs(2, 1)[1:])])


@pytest.fixture(scope="module")
def moment():
    keys = torch.randn(40, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return keys.T @ keys / 40


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)  # conftest sets the seed of every test


def test_a_rank_one_change_maps_the_key_to_the_value_and_is_the_smallest(moment):
    weight, key, value = draw(5, 12), draw(12), draw(5)
    change = rank_one(weight, key, value, moment)
    assert torch.allclose((weight + change) @ key, value)
    assert torch.linalg.matrix_rank(change) == 1
    # of all such changes it is the smallest under the moment: moving off along a free direction costs more
    free = draw(12)
    other = change + 0.1 * torch.outer(draw(5), free - key * (free @ key) / (key @ key))
    assert torch.allclose((weight + other) @ key, value)
    assert torch.trace(other @ moment @ other.T) > torch.trace(change @ moment @ change.T)


def test_least_squares_solve_their_normal_equations(moment):
    residuals, keys = draw(3, 5), draw(3, 12)
    change = least_squares(residuals, keys, 7.0 * moment)
    assert torch.allclose(change @ (7.0 * moment + keys.T @ keys), residuals.T @ keys)


def test_projected_least_squares_solve_theirs_and_are_0_for_keys_to_keep():
    kept = draw(8, 12)
    moment = kept.T @ kept / 8
    free = null_space_projection(moment, 1e-9)
    residuals, keys = draw(3, 5), draw(3, 12)
    change = projected_least_squares(residuals, keys, free, 0.5)
    identity = torch.eye(12, dtype=torch.float64)
    assert torch.allclose(change @ (keys.T @ keys @ free + 0.5 * identity), residuals.T @ keys @ free)
    assert torch.trace(free).item() == pytest.approx(4)
    assert (change @ kept.T).abs().max() < 1e-9
    assert change.abs().max() > 1e-3


@pytest.mark.parametrize("width", [*range(1, 60, 3), 96, 128])
def test_with_a_share_of_one_every_direction_is_free_however_sums_are_rounded(width):
    states = torch.randn(2 * width, width, dtype=torch.float64)
    for moment in (states.T @ states, torch.zeros(width, width, dtype=torch.float64)):
        torch.testing.assert_close(null_space_projection(moment, 1.0), torch.eye(width, dtype=torch.float64))


def test_the_null_space_projection_is_a_projection_that_grows_with_its_share(moment):
    sizes = []
    for share in (1e-6, 0.02, 0.5, 1.0):
        free = null_space_projection(moment, share)
        assert torch.allclose(free @ free, free)
        sizes.append(round(torch.trace(free).item()))
    assert sizes == sorted(sizes)
    assert sizes[0] == 0


def test_a_ridge_makes_a_moment_invertible():
    flat = torch.zeros(4, 4, dtype=torch.float64)
    flat[0, 0] = 4
    assert torch.equal(add_ridge(flat, 0.5).diagonal(), torch.tensor([4.5, 0.5, 0.5, 0.5], dtype=torch.float64))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path))
    return Cache()


def moments(cache):
    return list((cache.folder / "moments").glob("*.safetensors"))


def test_a_second_moment_is_the_mean_outer_product_over_tokens_and_is_cached_by_content(vlm, cache):
    down = linear_module(vlm, down_name(vlm, 0))
    total, count = 0, 0
    with torch.no_grad():
        for text in TEXTS:
            with capture([down]) as (seen,):
                vlm.hidden({"input_ids": torch.tensor([vlm.text_ids(text)])})
            total = total + seen.input[0].double().T @ seen.input[0].double()
            count += seen.input.shape[1]
    moment = second_moment(vlm, 0, TEXTS, cache)
    assert torch.allclose(moment, total / count, atol=1e-6)
    (kept,) = moments(cache)
    kept.write_bytes(flipped(kept.read_bytes()))
    assert torch.equal(second_moment(vlm, 0, TEXTS, cache), moment)
    assert kept.with_name(kept.name + ".damaged").exists()
    second_moment(vlm, 0, TEXTS[:2], cache)
    second_moment(vlm, 1, TEXTS, cache)
    assert len(moments(cache)) == 3
    with pytest.raises(DataError, match="at least one text"):
        second_moment(vlm, 0, ())


def test_keys_and_states_are_those_of_the_subjects_last_token(vlm, rows):
    down = linear_module(vlm, down_name(vlm, 0))
    with torch.no_grad(), capture([down, decoder_layers(vlm)[0]]) as (inside, whole):
        vlm.hidden(rows.batch.inputs)
    places = rows.last_I[rows.sensitive_I]
    keys, states = inside.input.flatten(0, 1)[places], whole.output.flatten(0, 1)[places]
    assert torch.allclose(subject_keys_BF(vlm, rows, 0), torch.stack([keys[:2].mean(0), keys[2]]), atol=1e-5)
    assert torch.allclose(subject_states_BD(vlm, rows, 0), torch.stack([states[:2].mean(0), states[2]]), atol=1e-5)


def test_a_shift_of_the_state_lowers_the_loss_within_its_reach(vlm, rows):
    shift = refusing_shifts_BD(
        vlm, rows, 0, subject_states_BD(vlm, rows, 0), benign_weight=1.25, rate=0.5, steps=15, reach=2.0
    )
    lengths = subject_states_BD(vlm, rows, 0).norm(dim=1)
    assert (shift.norm(dim=1) <= 2.0 * lengths * 1.001).all()
    at = rows.scopes["subject_last"][..., None]
    with torch.no_grad():
        plain = rows.loss_B(Scorer(vlm)(rows.batch), 1.25)
        hook = decoder_layers(vlm)[0].register_forward_hook(lambda _, __, h: torch.where(at, h + shift[:, None], h))
        after = rows.loss_B(Scorer(vlm)(rows.batch), 1.25)
        hook.remove()
    assert (after < plain - 0.1).all()


def test_spreading_brings_the_last_layer_to_the_wanted_state(vlm, rows):
    before = subject_states_BD(vlm, rows, 1)
    wanted = []

    def solve(layer, residuals, keys):
        wanted.append(residuals)
        return least_squares(residuals, keys, 1e-9 * torch.eye(keys.shape[1], dtype=torch.float64))

    # the steps of the value are what the last layer's state can feel: take the first layer alone for them
    deltas = spread_over_layers(vlm, [rows], [0], solve, benign_weight=1.25, rate=0.1, steps=3, reach=1.0)
    start = weights_of(vlm, [down_name(vlm, 0)])[down_name(vlm, 0)]
    with temporary_weights(vlm, {down_name(vlm, 0): start + deltas[0]}):
        moved = subject_states_BD(vlm, rows, 0)
        assert not torch.allclose(subject_states_BD(vlm, rows, 1), before, atol=1e-2)
    assert torch.allclose(moved, subject_states_BD(vlm, rows, 0) + wanted[0].float(), atol=1e-2)


def test_a_second_moment_whose_writing_was_interrupted_is_computed_again(vlm, cache, monkeypatch):
    def stopped(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("unsee.edits.edit.save_file", stopped)
        second_moment(vlm, 0, TEXTS[:1], cache)
    assert not files_in(cache.folder / "moments")
    assert torch.equal(second_moment(vlm, 0, TEXTS[:1], cache), second_moment(vlm, 0, TEXTS[:1]))
