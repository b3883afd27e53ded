"""Properties of both Neural Gate methods, on the tiny model."""

from dataclasses import replace

import privacy
import pytest
import tiny
import torch

from unsee.core.errors import ConfigError, DataError, ModelError
from unsee.data.pairs import by_case
from unsee.edits import gates
from unsee.edits.edit import Editor
from unsee.edits.gate_vectors import mean_change, sparse_vectors
from unsee.edits.gates import GateLearner, gate_of_share
from unsee.edits.pair_rows import make_pair_rows, queries, shuffled_pair_rows
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.steering import Steered, scale
from unsee.forward.hooks import frozen
from unsee.methods.base import Work
from unsee.methods.ft_l import FTL
from unsee.methods.neural_gate import NeuralGate
from unsee.methods.neural_gate_published import NeuralGatePublished
from unsee.training.train import Scorer

pytestmark = pytest.mark.slow

PAIRS = privacy.make_pairs(3, 2, categories=2)
CLEAN = NeuralGate(layers="0", share=0.2, epochs=4, vector_steps=6)
PUBLISHED = NeuralGatePublished(layers="0")


@pytest.fixture
def vlm():
    return tiny.make_vlm()


def do_edit(vlm, method, pairs=PAIRS, earlier=None, **options):
    return replace(method, **options).edit(vlm, pairs, Work(earlier=earlier))


def loss(vlm, pairs, benign_weight=1.25):
    (rows,) = shuffled_pair_rows(vlm, pairs, pictures=len(pairs), seed=0)
    with torch.no_grad():
        return rows.loss_B(Scorer(vlm)(rows.batch), benign_weight).mean().item()


def test_without_a_gate_it_is_ft_l_without_a_bound(vlm):
    edit = do_edit(vlm, CLEAN, gate="none")
    unbounded = FTL(layers="0", epochs=4, bound=100.0).edit(vlm, PAIRS, Work())
    name = down_name(vlm, 0)
    assert torch.allclose(edit.deltas[name], unbounded.deltas[name], atol=1e-6)
    assert not edit.gates


def test_with_gates_at_every_token_only_the_open_rows_are_edited(vlm):
    edit = do_edit(vlm, CLEAN)
    assert set(edit.gates) == {"person 0/0", "person 1/0"}
    opened = edit.gates["person 0/0"] | edit.gates["person 1/0"]
    (delta,) = edit.deltas.values()
    assert 0 < int(opened.sum()) < 48
    assert delta[opened].abs().sum(1).min() > 0
    assert not delta[~opened].any()


@pytest.mark.parametrize("scope", ["subject_last", "subject", "text"])
def test_with_gates_at_some_tokens_all_rows_are_edited(vlm, scope):
    (delta,) = do_edit(vlm, CLEAN, scope=scope).deltas.values()
    assert delta.abs().sum(1).min() > 0


@pytest.mark.parametrize(
    "method",
    [CLEAN, replace(PUBLISHED, scope="every", threshold=0.0, vector_epsilon=1e-6, edit_epsilon=1e-6)],
    ids=["neural_gate", "published"],
)
def test_a_category_with_nothing_to_refuse_is_edited_through_the_gates_of_the_others(vlm, method):
    kept = replace(PAIRS[1], sensitive="", category="kept", case="kept")
    edit = do_edit(vlm, method, pairs=[PAIRS[0], kept])
    (gate,), (delta,) = edit.gates.values(), edit.deltas.values()
    assert list(edit.frequencies) == list(edit.gates) == ["person 0/0"]
    assert 0 < int(gate.sum()) < 48
    assert delta[gate].any() and not delta[~gate].any()


def test_a_random_gate_has_the_size_of_the_learned_one(vlm):
    learned, drawn = (do_edit(vlm, CLEAN, gate=gate) for gate in ("learned", "random"))
    for key, gate in learned.gates.items():
        assert int(gate.sum()) == int(drawn.gates[key].sum())
        assert not torch.equal(gate, drawn.gates[key])


def test_the_published_procedure_learns_each_category_on_the_model_edited_for_those_before(vlm):
    method = replace(PUBLISHED, edit_epsilon=1e-4)
    both = do_edit(vlm, method)
    first, alone = (do_edit(vlm, method, [p for p in PAIRS if p.category == f"person {i}"]) for i in (0, 1))
    name = down_name(vlm, 0)
    assert torch.equal(both.frequencies["person 0/0"], first.frequencies["person 0/0"])
    changed = vlm.model.get_submodule(name).weight.half().float() + both.deltas[name]
    assert torch.equal(changed, changed.half().float())
    assert not torch.equal(both.deltas[name], first.deltas[name])
    assert not torch.allclose(both.deltas[name], first.deltas[name] + alone.deltas[name], atol=1e-6)


def test_a_closed_gate_is_an_error_and_in_the_published_procedure_a_warning(vlm, caplog):
    last = {"layers": "1", "vector_scope": "subject_last"}  # no later token reads this output
    with pytest.raises(ModelError, match=r"gate person 0/1: no dimension changes at this layer; choose another"):
        do_edit(vlm, CLEAN, **last)
    edit = do_edit(vlm, PUBLISHED, PAIRS[:1], **last)
    assert edit.open_shares() == {"person 0/1": 0.0}
    assert f"edit={edit.id} gate=person 0/1 open_share=0" in caplog.text


@pytest.mark.parametrize("tokens", [1, 10_000], ids=["one picture", "all pictures"])
@pytest.mark.parametrize(
    ("scope", "options"),
    [("every", {}), ("text", {"scope": "text"}), ("subject_last", {"vector_scope": "subject_last"})],
)
def test_vectors_are_learned_at_the_gated_tokens_or_at_those_of_vector_scope(vlm, monkeypatch, tokens, scope, options):
    at_once = []

    def steered(vlm, rows, *arguments, **named):
        at_once.append(rows.num_rows)
        return Steered(vlm, rows, *arguments, **named)

    monkeypatch.setattr(gates, "TOKENS", tokens)
    monkeypatch.setattr(gates, "Steered", steered)
    edit = do_edit(vlm, CLEAN, images=len(PAIRS), epochs=1, **options)
    cases = by_case(PAIRS)
    expected = len(cases) if tokens > 1 or scope == "subject_last" else 1
    assert set(at_once) == {expected} and sum(at_once) == len(cases)
    rows = make_pair_rows(vlm, [queries(case) for case in cases])
    with frozen(vlm.model):
        alone = Steered(vlm, rows, [0], combine=scale, scope=scope)
        vectors = sparse_vectors(alone, benign_weight=1.25, sparsity=0.1, rate=0.1, steps=CLEAN.vector_steps)
    for category in ("person 0", "person 1"):
        own = [case[0].category == category for case in cases]
        torch.testing.assert_close(edit.frequencies[f"{category}/0"], mean_change(vectors[own])[0])


def test_frequencies_of_an_earlier_edit_are_used_again_and_name_the_layers(vlm, monkeypatch):
    earlier = do_edit(vlm, CLEAN)
    monkeypatch.setattr(GateLearner, "frequencies", None)
    again = do_edit(vlm, CLEAN, layers="auto", share=0.3, earlier=earlier)
    assert again.settings["layers"] == "0"
    assert torch.equal(again.gates["person 0/0"], gate_of_share(earlier.frequencies["person 0/0"], 0.3))
    with pytest.raises(ConfigError, match="frequencies: there are none of person 0/1"):
        do_edit(vlm, CLEAN, layers="1", earlier=earlier)


def test_frequencies_that_do_not_fit_are_refused(vlm):
    earlier = do_edit(vlm, CLEAN, epochs=1)
    with pytest.raises(ModelError, match=r"frequencies: edit \w+ was made for another model than tiny"):
        do_edit(tiny.make_vlm(seed=1), CLEAN, earlier=earlier)
    with pytest.raises(ConfigError, match="is of method neural_gate, not of neural_gate_published"):
        do_edit(vlm, PUBLISHED, vector_scope="every", earlier=earlier)
    with pytest.raises(ConfigError, match="is of vector_scope 'every', and 'text' is asked for"):
        do_edit(vlm, CLEAN, vector_scope="text", earlier=earlier)
    with pytest.raises(ConfigError, match="keeps none"):
        do_edit(vlm, CLEAN, earlier=replace(earlier, frequencies={}))


@pytest.mark.parametrize("planted", [0, 1])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:3], PAIRS[:1]], ids=["categories", "pictures", "one picture"])
def test_the_only_layer_in_which_an_edit_has_an_effect_is_chosen(planted, pairs):
    vlm = tiny.make_vlm(layers=3)
    for index, layer in enumerate(decoder_layers(vlm)):
        if index != planted:  # its down projection gets zeros
            torch.nn.init.zeros_(layer.get_submodule(vlm.layout.mlp).gate_proj.weight)
    before = vlm.fingerprint()
    assert do_edit(vlm, CLEAN, pairs, layers="auto").settings["layers"] == str(planted)
    assert vlm.fingerprint() == before


def test_the_loss_of_a_layer_is_that_of_an_edit_on_the_categories_it_was_not_tuned_on(vlm):
    losses = []
    for tuned, held_out in ((0, 1), (1, 0)):
        edit = do_edit(vlm, CLEAN, [p for p in PAIRS if p.category == f"person {tuned}"], gate="none", epochs=1)
        editor = Editor(vlm)
        editor.apply(edit)
        losses += [loss(vlm, case) for case in by_case(p for p in PAIRS if p.category == f"person {held_out}")]
        editor.revert()
    assert CLEAN.layer_losses(vlm, PAIRS)[0] == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_the_published_search_avoids_a_layer_whose_output_no_later_token_reads(vlm):
    method = replace(PUBLISHED, layers="auto", vector_epsilon=1e-6)
    shares = method.closed_shares(vlm, PAIRS)
    assert shares[0] < shares[1] == 1.0
    assert do_edit(vlm, method).settings["layers"] == "0"
    with pytest.raises(DataError, match="no pair has anything to refuse"):
        method.closed_shares(vlm, [replace(pair, sensitive="") for pair in PAIRS])
