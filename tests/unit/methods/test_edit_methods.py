"""What the papers of the edit methods promise, on the tiny model."""

from dataclasses import replace

import privacy
import pytest
import tiny
import torch

from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError, DataError, ModelError
from unsee.data.pairs import by_case
from unsee.data.texts import load_texts
from unsee.edits.edit import Editor
from unsee.edits.gate_vectors import Steered, changes, gate_of_share, scaled, sparse_vectors
from unsee.edits.keys import free_space, keys_BF, second_moment, shifts_BD, states_BD
from unsee.edits.pair_rows import make_sheet, make_sheets, queries
from unsee.edits.partial_forward import down_name
from unsee.forward.hooks import frozen
from unsee.methods import METHODS, neural_gate
from unsee.methods.base import Work
from unsee.methods.neural_gate import NeuralGate
from unsee.training.train import Scorer

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
    return make_method(name, folder, **options).edit(vlm, pairs, Work(cache=folder / "moments"))


def refusal_loss(vlm, pairs=PAIRS, benign_weight=0.0):
    (sheet,) = make_sheets(vlm, pairs, pictures=len(pairs), seed=0)
    with torch.no_grad():
        return sheet.loss_B(Scorer(vlm)(sheet.batch), benign_weight).mean().item()


@pytest.mark.parametrize("name", sorted(QUICK.keys() - {"rome", "memit"}))  # on random weights all keys are alike
def test_an_edit_makes_refusing_likelier_and_can_be_taken_back(vlm, folder, name):
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
def test_it_changes_the_down_projection_it_is_told_to_and_nothing_else(vlm, folder, name):
    assert list(do_edit(vlm, name, folder, layers="0").deltas) == [down_name(vlm, 0)]


def test_an_edit_is_the_same_for_the_same_seed(vlm, folder):
    first, second = (do_edit(vlm, "ft_l", folder) for _ in range(2))
    assert first.id == second.id


def test_ft_l_stays_in_its_box(vlm, folder):
    bound = 0.004
    edit = do_edit(vlm, "ft_l", folder, layers="0", bound=bound)
    ((name, delta),) = edit.deltas.items()
    furthest = bound * vlm.model.get_submodule(name).weight.square().mean().sqrt().item()
    assert delta.abs().max().item() == pytest.approx(furthest, rel=1e-3)
    assert do_edit(vlm, "ft_l", folder, layers="0", bound=100.0).deltas[name].abs().max() > 2 * furthest


def test_rome_takes_one_layer_and_says_so_before_there_is_a_model():
    for several in ("0-1", "0,1"):
        with pytest.raises(ConfigError, match=f"^method.rome: layers: must be one layer, got '{several}'"):
            build_dataclass(METHODS.get("rome"), {"layers": several}, "method.rome")


def test_one_rome_update_has_rank_one_and_gives_the_value_for_the_key(vlm, folder):
    method = make_method("rome", folder)
    (delta,) = method.edit(vlm, PAIRS[:2], Work()).deltas.values()
    values = torch.linalg.svdvals(delta)
    assert values[1] < 1e-4 * values[0]
    (sheet,) = make_sheets(vlm, PAIRS[:2], pictures=1, seed=0)
    options = {"benign_weight": method.benign_weight, "rate": method.value_rate, "steps": method.value_steps}
    (shift,) = shifts_BD(vlm, sheet, 0, states_BD(vlm, sheet, 0), reach=method.reach, **options)
    assert torch.allclose(delta @ keys_BF(vlm, sheet, 0)[0], shift, atol=1e-3 * float(shift.norm()))


def test_rome_updates_that_follow_each_other_do_not_grow_without_end(vlm, folder):
    method = make_method("rome", folder, value_rate=5.0, value_steps=5)  # as far as the reach lets it
    one, many = (
        next(iter(method.edit(vlm, privacy.make_pairs(count, 2, categories=2), Work()).deltas.values())).norm()
        for count in (1, 12)
    )
    assert many < 12 * one


def test_memit_brings_the_subjects_state_nearer_to_the_wanted_one(vlm, folder):
    method = make_method("memit", folder)
    (delta,) = method.edit(vlm, PAIRS, Work()).deltas.values()
    (sheet,) = make_sheets(vlm, PAIRS, pictures=8, seed=0)
    options = {"benign_weight": method.benign_weight, "rate": method.value_rate, "steps": method.value_steps}
    shifts = shifts_BD(vlm, sheet, 0, states_BD(vlm, sheet, 0), reach=method.reach, **options)
    assert (keys_BF(vlm, sheet, 0) @ delta.T - shifts).norm() < 0.5 * shifts.norm()


def test_alphaedit_leaves_usual_keys_alone(vlm, folder):
    moment = second_moment(vlm, 0, load_texts(str(folder / "texts.txt")))
    (delta,) = do_edit(vlm, "alphaedit", folder, free_share=0.1).deltas.values()
    free = free_space(moment, 0.1)
    assert (delta.double() - delta.double() @ free).norm() < 1e-4 * delta.norm()
    moved = torch.trace(delta.double() @ moment @ delta.double().T) / delta.norm() ** 2
    assert moved < 0.1 * torch.trace(moment)


def test_dinm_edits_the_layer_that_is_furthest_apart(vlm, folder):
    method = make_method("dinm", folder)
    distances = method.distances(vlm, PAIRS)
    assert distances.shape == (2,)
    edit = do_edit(vlm, "dinm", folder)
    assert list(edit.deltas) == [down_name(vlm, int(distances.argmax()))]
    assert edit.settings["layer"] == int(distances.argmax())


def test_sku_walks_as_far_as_it_is_told(vlm, folder):
    name = down_name(vlm, 0)
    half, full = (do_edit(vlm, "sku", folder, strength=strength).deltas[name] for strength in (0.5, 1.0))
    assert torch.allclose(2 * half, full)


def test_memflex_keeps_to_the_number_of_parameters_of_the_others(vlm, folder):
    edit = do_edit(vlm, "memflex", folder)
    budget = vlm.model.get_submodule(down_name(vlm, 0)).weight.numel()
    assert 0 < sum(delta.numel() for delta in edit.deltas.values()) <= budget
    assert edit.settings["matrices"] == list(edit.deltas)


def test_memflex_needs_gradients_that_differ(vlm, folder, monkeypatch):
    alike = {down_name(vlm, 0): torch.ones(48, 128)}
    monkeypatch.setattr("unsee.methods.memflex._gradients", lambda vlm, sheets: (alike, alike))
    with pytest.raises(ModelError, match="raise cosine"):
        do_edit(vlm, "memflex", folder)


def test_lora_changes_have_its_rank(vlm, folder):
    edit = do_edit(vlm, "lora_refusal", folder, rank=2, learning_rate=1e-2)
    assert all(name.endswith(("q_proj", "v_proj")) for name in edit.deltas)
    assert len(edit.deltas) == 4
    for delta in edit.deltas.values():
        values = torch.linalg.svdvals(delta)
        assert values[2] < 1e-3 * values[0]


def test_lora_has_as_many_parameters_as_the_others_where_no_rank_is_given(vlm, folder):
    edit = do_edit(vlm, "lora_refusal", folder, epochs=1)
    budget = vlm.model.get_submodule(down_name(vlm, 0)).weight.numel()
    each = sum(sum(delta.shape) for delta in edit.deltas.values())
    assert edit.settings["rank"] * each <= budget < (edit.settings["rank"] + 1) * each
    assert edit.settings["rank"] > 8


def test_without_a_gate_neural_gate_is_ft_l_without_a_bound(vlm, folder):
    name = down_name(vlm, 0)
    edit = do_edit(vlm, "neural_gate", folder, layers="0", gate="none")
    unbounded = do_edit(vlm, "ft_l", folder, layers="0", bound=100.0)
    assert torch.allclose(edit.deltas[name], unbounded.deltas[name], atol=1e-6)
    assert not edit.gates


def test_neural_gate_edits_gated_rows_alone_where_the_gate_stands_at_every_token(vlm, folder):
    edit = do_edit(vlm, "neural_gate", folder, layers="0", share=0.2)
    assert set(edit.gates) == {"person 0/0", "person 1/0"}
    opened = edit.gates["person 0/0"] | edit.gates["person 1/0"]
    (delta,) = edit.deltas.values()
    assert 0 < int(opened.sum()) < 48
    assert delta[opened].abs().sum(1).min() > 0
    assert not delta[~opened].any()


@pytest.mark.parametrize("mode", ["clean", "reference"])
def test_a_category_with_nothing_to_refuse_goes_through_the_gates_of_the_others(vlm, folder, mode):
    kept = replace(PAIRS[1], sensitive="", category="kept", case="kept")
    options = {"mode": mode, "scope": "every", "share": 0.2, "threshold": 0.0, "vector_epsilon": 1e-6}
    edit = do_edit(vlm, "neural_gate", folder, pairs=[PAIRS[0], kept], edit_epsilon=1e-6, **options)
    (gate,), (delta,) = edit.gates.values(), edit.deltas.values()
    assert list(edit.frequencies) == list(edit.gates) == ["person 0/0"]
    assert 0 < int(gate.sum()) < 48
    assert delta[gate].any() and not delta[~gate].any()


@pytest.mark.parametrize("scope", ["subject_last", "subject", "text"])
def test_other_scopes_edit_all_rows(vlm, folder, scope):
    (delta,) = do_edit(vlm, "neural_gate", folder, layers="0", scope=scope).deltas.values()
    assert delta.abs().sum(1).min() > 0


def test_a_random_gate_is_as_large_as_the_learned_one(vlm, folder):
    learned = do_edit(vlm, "neural_gate", folder, layers="0", share=0.2)
    drawn = do_edit(vlm, "neural_gate", folder, layers="0", share=0.2, gate="random")
    for key, gate in learned.gates.items():
        assert int(gate.sum()) == int(drawn.gates[key].sum())
        assert not torch.equal(gate, drawn.gates[key])


def test_the_reference_learns_one_category_on_the_model_edited_for_the_one_before(vlm, folder):
    options = {"mode": "reference", "layers": "0", "edit_epsilon": 1e-4}
    both = do_edit(vlm, "neural_gate", folder, **options)
    first = do_edit(vlm, "neural_gate", folder, pairs=[p for p in PAIRS if p.category == "person 0"], **options)
    alone = do_edit(vlm, "neural_gate", folder, pairs=[p for p in PAIRS if p.category == "person 1"], **options)
    name = down_name(vlm, 0)
    assert torch.equal(both.frequencies["person 0/0"], first.frequencies["person 0/0"])
    changed = vlm.model.get_submodule(name).weight.half().float() + both.deltas[name]
    assert torch.equal(changed, changed.half().float())
    assert not torch.equal(both.deltas[name], first.deltas[name])
    assert not torch.allclose(both.deltas[name], first.deltas[name] + alone.deltas[name], atol=1e-6)


def test_a_gate_that_opens_nothing_is_refused_and_published_is_warned_of(vlm, folder, caplog):
    with pytest.raises(ModelError, match=r"gate person 0/1: no dimension changes at this layer; choose another"):
        do_edit(vlm, "neural_gate", folder, layers="1", vector_scope="subject_last")  # which no later token sees
    edit = do_edit(vlm, "neural_gate", folder, layers="1", mode="reference", pairs=PAIRS[:1])
    assert edit.open_shares() == {"person 0/1": 0.0}
    assert f"edit={edit.id} gate=person 0/1 open_share=0" in caplog.text


@pytest.mark.parametrize("tokens", [1, 10_000], ids=["one by one", "together"])
def test_the_vectors_are_learned_where_the_gate_stands(vlm, folder, monkeypatch, tokens):
    held = []

    def steered(vlm, sheet, *arguments, **named):
        held.append(sheet.num_rows)
        return Steered(vlm, sheet, *arguments, **named)

    monkeypatch.setattr(neural_gate, "TOKENS", tokens)
    monkeypatch.setattr(neural_gate, "Steered", steered)
    cases = by_case(PAIRS)
    sheet = make_sheet(vlm, [queries(case) for case in cases])
    options = {"benign_weight": 1.25, "sparsity": 0.1, "rate": 0.1, "steps": QUICK["neural_gate"]["vector_steps"]}
    for scope, chosen in (
        ("every", {}),
        ("text", {"scope": "text"}),
        ("subject_last", {"vector_scope": "subject_last"}),
    ):
        edit = do_edit(vlm, "neural_gate", folder, layers="0", images=len(PAIRS), epochs=1, **chosen)
        with frozen(vlm.model):
            vectors = sparse_vectors(Steered(vlm, sheet, [0], combine=scaled, scope=scope), 1, **options)
        for category in ("person 0", "person 1"):
            own = [case[0].category == category for case in cases]
            torch.testing.assert_close(edit.frequencies[f"{category}/0"], changes(vectors[own])[0])
        at_once = len(cases) if tokens > 1 or scope == "subject_last" else 1
        assert set(held) == {at_once} and sum(held) == len(cases)
        held.clear()


def test_the_widest_picture_says_how_many_are_learned_at_once(vlm, folder, monkeypatch):
    short, long = privacy.make_pairs(2, 1), privacy.make_pairs(2, 6)[6:]
    method = make_method("neural_gate", folder)
    cases = [short[:1], long]
    widths = [method._questions(vlm, [case]).scopes["every"].shape[1] for case in cases]
    for tokens, at_once in ((2 * max(widths) - 1, 1), (2 * max(widths), 2)):
        monkeypatch.setattr(neural_gate, "TOKENS", tokens)
        assert method._at_once(vlm, cases) == at_once


def test_frequencies_of_an_earlier_edit_are_not_learned_again_and_name_the_layers(vlm, folder, monkeypatch):
    earlier = do_edit(vlm, "neural_gate", folder, layers="0")
    monkeypatch.setattr(NeuralGate, "_frequencies", None)
    again = make_method("neural_gate", folder, share=0.3).edit(vlm, PAIRS, Work(earlier=earlier))
    assert again.settings["layers"] == "0"
    assert torch.equal(again.gates["person 0/0"], gate_of_share(earlier.frequencies["person 0/0"], 0.3))
    with pytest.raises(ConfigError, match="frequencies: there are none of person 0/1"):
        make_method("neural_gate", folder, layers="1").edit(vlm, PAIRS, Work(earlier=earlier))


def test_an_edit_that_does_not_say_where_its_vectors_stood_learned_them_at_the_subjects_last_token(vlm, folder):
    earlier = do_edit(vlm, "neural_gate", folder, layers="0", epochs=1, vector_scope="subject_last")
    earlier.settings.pop("vector_scope")
    method = make_method("neural_gate", folder, vector_scope="subject_last", epochs=1)
    assert method.edit(vlm, PAIRS, Work(earlier=earlier)).gates.keys() == earlier.gates.keys()


def test_frequencies_of_another_model_or_mode_are_refused(vlm, folder):
    earlier = do_edit(vlm, "neural_gate", folder, layers="0", epochs=1)
    method = make_method("neural_gate", folder)
    with pytest.raises(ModelError, match=r"frequencies: edit \w+ was made for another model than tiny"):
        method.edit(tiny.make_vlm(seed=1), PAIRS, Work(earlier=earlier))
    with pytest.raises(ConfigError, match="is of mode 'clean', and 'reference' is asked for"):
        replace(method, mode="reference").edit(vlm, PAIRS, Work(earlier=earlier))
    with pytest.raises(ConfigError, match="is of vector_scope 'every', and 'text' is asked for"):
        replace(method, vector_scope="text").edit(vlm, PAIRS, Work(earlier=earlier))
    with pytest.raises(ConfigError, match="keeps none"):
        method.edit(vlm, PAIRS, Work(earlier=replace(earlier, frequencies={})))


@pytest.mark.parametrize("mode", ["clean", "reference"])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:3], PAIRS[:1]], ids=["categories", "pictures", "one"])
def test_neural_gate_places_itself_where_least_speaks_against_it(vlm, folder, mode, pairs):
    before = vlm.fingerprint()
    against = make_method("neural_gate", folder, mode=mode).locate(vlm, pairs)
    assert set(against) == {0, 1} and vlm.fingerprint() == before
    if mode == "clean":  # what the last layer gives, no later token sees
        assert do_edit(vlm, "neural_gate", folder, pairs=pairs).settings["layers"] == str(min(against, key=against.get))


def test_a_layer_is_judged_by_what_an_edit_does_to_categories_it_did_not_see(vlm, folder):
    method = make_method("neural_gate", folder)
    losses = []
    for learned, left in ((0, 1), (1, 0)):
        seen = [pair for pair in PAIRS if pair.category == f"person {learned}"]
        edit = replace(method, layers="0", gate="none", epochs=1).edit(vlm, seen, Work())
        editor = Editor(vlm)
        editor.apply(edit)
        unseen = by_case(pair for pair in PAIRS if pair.category == f"person {left}")
        losses += [refusal_loss(vlm, case, 1.25) for case in unseen]
        editor.revert()
    assert method.locate(vlm, PAIRS)[0] == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_without_anything_to_refuse_the_reference_finds_no_layer(vlm, folder):
    benign = [replace(pair, sensitive="") for pair in PAIRS]
    with pytest.raises(DataError, match="no pair has anything to refuse"):
        make_method("neural_gate", folder, mode="reference").locate(vlm, benign)


@pytest.mark.parametrize("name", ["neural_gate", "ft_l", "memit"])
def test_a_layer_out_of_range_says_the_range(vlm, folder, name):
    with pytest.raises(ConfigError, match="'7' is out of range; model tiny has the layers 0 to 1"):
        do_edit(vlm, name, folder, layers="7")


def test_a_missing_benign_answer_is_said(vlm, folder):
    with pytest.raises(DataError, match="has no benign answer"):
        do_edit(vlm, "ft_l", folder, pairs=[privacy.make_pair(answer=None)])


def test_the_guardrail_knows_the_words_that_only_private_questions_hold():
    guard = METHODS.get("keyword_guardrail")().guard(PAIRS)
    assert guard(PAIRS[0].sensitive) is not None
    assert guard(PAIRS[0].benign) is None
    assert guard("Your FULL story, please") is not None
    assert guard("What is the colour of the sky?") is None
