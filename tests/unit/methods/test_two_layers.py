"""Edits of two layers of a model that has three: each matrix gets a change of its own, and both work together."""

import privacy
import pytest
import tiny
import torch

from unsee.edits.edit import Editor
from unsee.edits.keys import refusing_shifts_BD, subject_states_BD
from unsee.edits.pair_rows import shuffled_pair_rows
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import temporary_weights, weights_of
from unsee.methods import METHODS
from unsee.methods.base import Work
from unsee.methods.neural_gate import NeuralGate
from unsee.training.train import Scorer

PAIRS = privacy.make_pairs(4, 2, categories=2)
LAYERS = (0, 1)


@pytest.fixture
def vlm():
    found = tiny.make_vlm(layers=3)
    assert len(decoder_layers(found)) == 3
    return found


def refusal_loss(vlm):
    (rows,) = shuffled_pair_rows(vlm, PAIRS, pictures=len(PAIRS), seed=0)
    with torch.no_grad():
        return rows.loss_B(Scorer(vlm)(rows.batch), 0.0).mean().item()


def test_each_layer_is_edited_through_its_own_gates(vlm):
    before, plain = vlm.fingerprint(), refusal_loss(vlm)
    edit = NeuralGate(layers="0-1", share=0.2, epochs=4, vector_steps=6).edit(vlm, PAIRS, Work())
    assert set(edit.deltas) == {down_name(vlm, layer) for layer in LAYERS}
    assert edit.settings["layers"] == "0,1"
    opened = {layer: edit.gates[f"person 0/{layer}"] | edit.gates[f"person 1/{layer}"] for layer in LAYERS}
    assert not torch.equal(opened[0], opened[1])
    for layer, open_D in opened.items():
        delta = edit.deltas[down_name(vlm, layer)]
        assert delta[open_D].abs().sum(1).min() > 0 and not delta[~open_D].any()
    editor = Editor(vlm)
    editor.apply(edit)
    assert refusal_loss(vlm) < plain
    editor.revert()
    assert vlm.fingerprint() == before


@pytest.mark.parametrize(("name", "options"), [("memit", {"kept_weight": 0.01}), ("alphaedit", {"free_share": 0.5})])
def test_two_layers_bring_the_state_closer_to_the_wanted_one_than_the_lower_alone(vlm, tmp_path, name, options):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(tiny.QUESTIONS + tiny.ANSWERS))
    method = METHODS.get(name)(layers="0-1", texts=str(texts), value_steps=8, **options)
    edit = method.edit(vlm, PAIRS, Work())
    assert set(edit.deltas) == {down_name(vlm, layer) for layer in LAYERS}
    assert all(delta.norm() > 0 for delta in edit.deltas.values())

    start = weights_of(vlm, list(edit.deltas))
    lower = {down_name(vlm, 0): start[down_name(vlm, 0)] + edit.deltas[down_name(vlm, 0)]}
    both = {name: start[name] + delta for name, delta in edit.deltas.items()}
    (rows,) = shuffled_pair_rows(vlm, PAIRS, pictures=8, seed=0)
    plan = {"benign_weight": method.benign_weight, "rate": method.value_rate, "steps": method.value_steps}
    state = subject_states_BD(vlm, rows, 1)
    wanted = state + refusing_shifts_BD(vlm, rows, 1, state, reach=method.reach, **plan)
    distances = []
    for weights in ({}, lower, both):
        with temporary_weights(vlm, weights):
            distances.append(float((wanted - subject_states_BD(vlm, rows, 1)).norm()))
    none, half, whole = distances
    assert whole < half < none
