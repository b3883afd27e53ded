"""Properties of the edit methods from their papers, on the tiny model."""

import privacy
import pytest
import tiny
import torch

from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError, DataError, ModelError
from unsee.data.texts import load_texts
from unsee.edits.edit import Editor
from unsee.edits.keys import (
    null_space_projection,
    refusing_shifts_BD,
    second_moment,
    subject_keys_BF,
    subject_states_BD,
)
from unsee.edits.pair_rows import shuffled_pair_rows
from unsee.edits.partial_forward import down_name
from unsee.methods import METHODS
from unsee.methods.base import Work
from unsee.training.train import Scorer

pytestmark = pytest.mark.slow

PAIRS = privacy.make_pairs(3, 2, categories=2)
QUICK = {
    "neural_gate": {"epochs": 4, "vector_steps": 6}, "ft_l": {"epochs": 4},
    "dinm": {"epochs": 4}, "sku": {"epochs": 4}, "memflex": {"epochs": 4}, "lora_refusal": {"epochs": 4},
    "rome": {"value_steps": 8, "value_rate": 0.2}, "memit": {"value_steps": 8, "kept_weight": 0.01},
    "alphaedit": {"value_steps": 8, "free_share": 0.5},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(tiny.QUESTIONS + tiny.ANSWERS))
    return path.parent


@pytest.fixture
def vlm():
    return tiny.make_vlm()


def make_method(name, folder, **options):
    uses_texts = name in ("rome", "memit", "alphaedit")
    texts = {"texts": str(folder / "texts.txt")} if uses_texts else {}
    return METHODS.get(name)(**{**QUICK[name], **texts, **options})


def do_edit(vlm, name, folder, pairs=PAIRS, **options):
    return make_method(name, folder, **options).edit(vlm, pairs, Work())


def refusal_loss(vlm, pairs=PAIRS, benign_weight=0.0):
    (rows,) = shuffled_pair_rows(vlm, pairs, pictures=len(pairs), seed=0)
    with torch.no_grad():
        return rows.loss_B(Scorer(vlm)(rows.batch), benign_weight).mean().item()


@pytest.mark.parametrize("name", sorted(QUICK.keys() - {"rome", "memit"}))  # on random weights all keys are alike
def test_an_edit_makes_refusals_more_likely_and_can_be_reverted(vlm, folder, name):
    before, plain = vlm.fingerprint(), refusal_loss(vlm)
    edit = do_edit(vlm, name, folder)
    assert edit.method == name
    assert vlm.fingerprint() == before == edit.model
    assert all(parameter.requires_grad for parameter in vlm.model.parameters())
    editor = Editor(vlm)
    editor.apply(edit)
    assert refusal_loss(vlm) < plain
    editor.revert()
    assert vlm.fingerprint() == before
    assert refusal_loss(vlm) == plain


@pytest.mark.parametrize("name", ["ft_l", "memit", "alphaedit", "rome", "sku", "neural_gate"])
def test_only_the_down_projection_of_the_chosen_layer_is_edited(vlm, folder, name):
    assert list(do_edit(vlm, name, folder, layers="0").deltas) == [down_name(vlm, 0)]


def test_the_same_seed_gives_the_same_edit(vlm, folder):
    first, second = (do_edit(vlm, "ft_l", folder) for _ in range(2))
    assert first.id == second.id


def test_ft_l_keeps_every_weight_within_the_bound(vlm, folder):
    bound = 0.004
    edit = do_edit(vlm, "ft_l", folder, layers="0", bound=bound)
    ((name, delta),) = edit.deltas.items()
    furthest = bound * vlm.model.get_submodule(name).weight.square().mean().sqrt().item()
    assert delta.abs().max().item() == pytest.approx(furthest, rel=1e-3)
    assert do_edit(vlm, "ft_l", folder, layers="0", bound=100.0).deltas[name].abs().max() > 2 * furthest


def test_several_layers_for_rome_are_an_error_of_its_options():
    for several in ("0-1", "0,1"):
        with pytest.raises(ConfigError, match=f"^method.rome: layers: must be one layer, got '{several}'"):
            build_dataclass(METHODS.get("rome"), {"layers": several}, "method.rome")


def test_one_rome_update_has_rank_one_and_maps_the_key_to_the_value(vlm, folder):
    method = make_method("rome", folder)
    (delta,) = method.edit(vlm, PAIRS[:2], Work()).deltas.values()
    values = torch.linalg.svdvals(delta)
    assert values[1] < 1e-4 * values[0]
    (rows,) = shuffled_pair_rows(vlm, PAIRS[:2], pictures=1, seed=0)
    options = {"benign_weight": method.benign_weight, "rate": method.value_rate, "steps": method.value_steps}
    (shift,) = refusing_shifts_BD(vlm, rows, 0, subject_states_BD(vlm, rows, 0), reach=method.reach, **options)
    assert torch.allclose(delta @ subject_keys_BF(vlm, rows, 0)[0], shift, atol=1e-3 * float(shift.norm()))


def test_many_rome_updates_are_shorter_than_the_sum_of_single_ones(vlm, folder):
    method = make_method("rome", folder, value_rate=5.0, value_steps=5)  # as far as the reach lets it
    one, many = (
        next(iter(method.edit(vlm, privacy.make_pairs(count, 2, categories=2), Work()).deltas.values())).norm()
        for count in (1, 12)
    )
    assert many < 12 * one


def test_memit_brings_the_state_of_the_subject_closer_to_the_wanted_state(vlm, folder):
    method = make_method("memit", folder)
    (delta,) = method.edit(vlm, PAIRS, Work()).deltas.values()
    (rows,) = shuffled_pair_rows(vlm, PAIRS, pictures=8, seed=0)
    options = {"benign_weight": method.benign_weight, "rate": method.value_rate, "steps": method.value_steps}
    shifts = refusing_shifts_BD(vlm, rows, 0, subject_states_BD(vlm, rows, 0), reach=method.reach, **options)
    assert (subject_keys_BF(vlm, rows, 0) @ delta.T - shifts).norm() < 0.5 * shifts.norm()


def test_alphaedit_hardly_changes_the_values_of_usual_keys(vlm, folder):
    moment = second_moment(vlm, 0, load_texts(str(folder / "texts.txt")))
    (delta,) = do_edit(vlm, "alphaedit", folder, free_share=0.1).deltas.values()
    free = null_space_projection(moment, 0.1)
    assert (delta.double() - delta.double() @ free).norm() < 1e-4 * delta.norm()
    moved = torch.trace(delta.double() @ moment @ delta.double().T) / delta.norm() ** 2
    assert moved < 0.1 * torch.trace(moment)


def test_dinm_edits_the_layer_with_the_largest_distance(vlm, folder):
    method = make_method("dinm", folder)
    distances = method.distances(vlm, PAIRS)
    assert distances.shape == (2,)
    edit = do_edit(vlm, "dinm", folder)
    assert list(edit.deltas) == [down_name(vlm, int(distances.argmax()))]
    assert edit.settings["layer"] == int(distances.argmax())


def test_the_strength_of_sku_scales_its_change(vlm, folder):
    name = down_name(vlm, 0)
    half, full = (do_edit(vlm, "sku", folder, strength=strength).deltas[name] for strength in (0.5, 1.0))
    assert torch.allclose(2 * half, full)


def test_memflex_tunes_no_more_parameters_than_one_down_projection_has(vlm, folder):
    edit = do_edit(vlm, "memflex", folder)
    budget = vlm.model.get_submodule(down_name(vlm, 0)).weight.numel()
    assert 0 < sum(delta.numel() for delta in edit.deltas.values()) <= budget
    assert edit.settings["matrices"] == list(edit.deltas)


def test_memflex_without_gradients_that_differ_is_an_error(vlm, folder, monkeypatch):
    alike = {down_name(vlm, 0): torch.ones(48, 128)}
    monkeypatch.setattr("unsee.methods.memflex._gradients", lambda vlm, batches: (alike, alike))
    with pytest.raises(ModelError, match="raise cosine"):
        do_edit(vlm, "memflex", folder)


def test_lora_refusal_changes_matrices_by_its_rank(vlm, folder):
    edit = do_edit(vlm, "lora_refusal", folder, rank=2, learning_rate=1e-2)
    assert all(name.endswith(("q_proj", "v_proj")) for name in edit.deltas)
    assert len(edit.deltas) == 4
    for delta in edit.deltas.values():
        values = torch.linalg.svdvals(delta)
        assert values[2] < 1e-3 * values[0]


def test_lora_refusal_without_a_rank_trains_as_many_parameters_as_one_down_projection_has(vlm, folder):
    edit = do_edit(vlm, "lora_refusal", folder, epochs=1)
    budget = vlm.model.get_submodule(down_name(vlm, 0)).weight.numel()
    each = sum(sum(delta.shape) for delta in edit.deltas.values())
    assert edit.settings["rank"] * each <= budget < (edit.settings["rank"] + 1) * each
    assert edit.settings["rank"] > 8


@pytest.mark.parametrize("name", ["neural_gate", "ft_l", "memit"])
def test_the_error_of_a_layer_out_of_range_names_the_range(vlm, folder, name):
    with pytest.raises(ConfigError, match="'7' is out of range; the decoder has the layers 0 to 1"):
        do_edit(vlm, name, folder, layers="7")


def test_a_missing_benign_answer_is_an_error(vlm, folder):
    with pytest.raises(DataError, match="has no benign answer"):
        do_edit(vlm, "ft_l", folder, pairs=[privacy.make_pair(answer=None)])


def test_the_guardrail_refuses_words_that_occur_in_private_questions_only():
    guard = METHODS.get("keyword_guardrail")().guard(PAIRS)
    assert guard(PAIRS[0].sensitive) is not None
    assert guard(PAIRS[0].benign) is None
    assert guard("Your FULL story, please") is not None
    assert guard("What is the colour of the sky?") is None
