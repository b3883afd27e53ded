import privacy
import pytest
import tiny
import torch

from unsee.core.errors import ModelError
from unsee.edits.pair_rows import make_pair_rows, queries
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import (
    Tunable,
    TuningPlan,
    linear_module,
    refusal_objective,
    temporary_weights,
    tune,
    tune_as_published,
    weights_of,
)
from unsee.forward.hooks import NeuronGate, capture
from unsee.training.train import Scorer


@pytest.fixture
def vlm():
    return tiny.make_vlm()


@pytest.fixture
def rows(vlm):
    return make_pair_rows(vlm, [queries(privacy.make_pairs(1, 3)), queries(privacy.make_pairs(2, 1)[1:])])


def make_gate(rows, share=0.5, scope="subject_last"):
    torch.manual_seed(5)
    return NeuronGate(rows.scopes[scope], torch.rand(2, 48) < share)


def gradients(vlm, rows, names, gates=None, site="matrix"):
    weights = {name: matrix.clone().requires_grad_(True) for name, matrix in weights_of(vlm, names).items()}
    loss = rows.loss_B(Tunable(vlm, rows, names, gates, site).score(weights), 1.25).mean()
    return dict(zip(names, torch.autograd.grad(loss, list(weights.values())), strict=True))


def of_whole_model(vlm, rows, layer):
    """The gradient at the layer's output, the input and the gradient of its down projection, of the whole model."""
    down = linear_module(vlm, down_name(vlm, layer))
    with capture([decoder_layers(vlm)[layer], down]) as (whole, inside):
        loss = rows.loss_B(Scorer(vlm)(rows.batch), 1.25).mean()
        (upstream,) = torch.autograd.grad(loss, whole.output, retain_graph=True)
        (plain,) = torch.autograd.grad(loss, down.weight)
    return upstream, inside.input.detach(), plain


def test_the_gated_gradient_is_the_papers_sum_of_outer_products(vlm, rows):
    name, gate = down_name(vlm, 0), make_gate(rows)
    upstream, inputs, _ = of_whole_model(vlm, rows, 0)
    expected = torch.zeros(48, inputs.shape[-1])
    for row in range(2):
        for token in range(upstream.shape[1]):
            open_D = gate.open_BD[row] if gate.at_BT[row, token] else torch.ones(48, dtype=torch.bool)
            expected += torch.outer(upstream[row, token] * open_D, inputs[row, token])
    for site in ("matrix", "layer"):
        learned = gradients(vlm, rows, [name], {name: gate}, site)[name]
        assert torch.allclose(learned, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("site", ["matrix", "layer"])
def test_an_open_gate_and_no_gate_give_the_gradient_of_the_whole_model(vlm, rows, site):
    name = down_name(vlm, 0)
    _, _, plain = of_whole_model(vlm, rows, 0)
    for gates in (None, {name: make_gate(rows, share=2.0)}):
        learned = gradients(vlm, rows, [name], gates, site)[name]
        assert torch.allclose(learned, plain, atol=1e-5 * float(plain.abs().max()))


def test_a_closed_gate_removes_the_gradient_of_the_subjects_tokens(vlm, rows):
    name, gate = down_name(vlm, 0), make_gate(rows, share=-1.0)
    upstream, inputs, plain = of_whole_model(vlm, rows, 0)
    at = gate.at_BT
    part = upstream[at].T @ inputs[at]
    learned = gradients(vlm, rows, [name], {name: gate})[name]
    assert part.abs().max() > 1e-4
    assert torch.allclose(plain - learned, part, atol=1e-5 * float(plain.abs().max()))


def test_a_gate_at_every_token_gives_closed_rows_no_gradient(vlm, rows):
    name, gate = down_name(vlm, 0), make_gate(rows, scope="every")
    learned = gradients(vlm, rows, [name], {name: gate})[name]
    closed = ~gate.open_BD.any(0)
    assert closed.any()
    assert not learned[closed].any()
    assert learned[~closed].abs().sum(1).min() > 0


def test_gates_of_several_layers_are_independent_at_the_matrix_and_compound_at_the_layer(vlm, rows):
    low, high = names = [down_name(vlm, 0), down_name(vlm, 1)]
    upper_gate = {high: make_gate(rows, share=0.3, scope="text")}
    plain = gradients(vlm, rows, names)
    independent = gradients(vlm, rows, names, upper_gate)
    compound = gradients(vlm, rows, names, upper_gate, "layer")
    assert torch.allclose(independent[low], plain[low], atol=1e-6)
    assert not torch.allclose(compound[low], plain[low], atol=1e-4)
    assert torch.allclose(independent[high], compound[high], atol=1e-6)


def test_after_the_first_rows_only_the_tower_and_the_lower_layers_run_to_prepare_others(vlm, rows):
    first = Tunable(vlm, rows, [down_name(vlm, 0)])  # is checked against the whole model
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    modules = [*(vlm.model.get_submodule(down_name(vlm, layer)) for layer in range(2)), tower]
    calls = []
    handles = [module.register_forward_hook(lambda *_, i=i: calls.append(i)) for i, module in enumerate(modules)]
    second = Tunable(vlm, rows, [down_name(vlm, 0)])
    for handle in handles:
        handle.remove()
    assert [calls.count(i) for i in range(3)] == [1, 0, 1]
    assert not any("forward" in module.__dict__ for module in vlm.model.modules())
    weights = weights_of(vlm, [down_name(vlm, 0)])
    with torch.no_grad():
        found = [tunable.score(weights).log_probability_I for tunable in (first, second)]
    assert torch.equal(*found)


def test_any_linear_module_has_the_gradient_of_the_whole_model(vlm, rows):
    names = [f"{vlm.layout.decoder_layers}.{layer}.self_attn.{kind}_proj" for layer, kind in ((0, "q"), (1, "v"))]
    loss = rows.loss_B(Scorer(vlm)(rows.batch), 1.25).mean()
    plain = torch.autograd.grad(loss, [linear_module(vlm, name).weight for name in names])
    for learned, expected in zip(gradients(vlm, rows, names).values(), plain, strict=True):
        assert torch.allclose(learned, expected, atol=1e-5 * float(expected.abs().max()))


def test_tuning_lowers_the_loss_and_leaves_the_model_unchanged(vlm, rows):
    name, before = down_name(vlm, 0), vlm.fingerprint()
    start = weights_of(vlm, [name])
    deltas = tune(vlm, [rows], [name], TuningPlan(learning_rate=5e-3, epochs=8), refusal_objective(1.25))
    assert vlm.fingerprint() == before
    assert all(parameter.requires_grad for parameter in vlm.model.parameters())

    def loss():
        with torch.no_grad():
            return rows.loss_B(Scorer(vlm)(rows.batch), 1.25).mean().item()

    plain = loss()
    with temporary_weights(vlm, {name: start[name] + deltas[name]}):
        assert loss() < plain - 0.1
    assert loss() == plain
    again = tune(vlm, [rows], [name], TuningPlan(learning_rate=5e-3, epochs=8), refusal_objective(1.25))
    assert torch.equal(again[name], deltas[name])


def test_a_change_of_low_rank_has_that_rank(vlm, rows):
    name = down_name(vlm, 0)
    deltas = tune(vlm, [rows], [name], TuningPlan(learning_rate=1e-2, epochs=3, rank=2), refusal_objective(1.25))
    values = torch.linalg.svdvals(deltas[name])
    assert values[1] > 1e-4 * values[0]
    assert values[2] < 1e-4 * values[0]


def test_published_steps_are_taken_in_half_precision(vlm, rows):
    name = down_name(vlm, 0)
    one = make_pair_rows(vlm, [queries([privacy.make_pair()], benign_words=5)])
    start = weights_of(vlm, [name])[name].half()
    weights = {name: start.clone()}
    tune_as_published(vlm, one, weights, {}, benign_weight=1.25, epsilon=1e-3)
    moved = weights[name] != start
    assert weights[name].dtype == torch.float16
    assert 0 < moved.float().mean() < 1  # small gradients are rounded away


def test_a_loss_that_is_not_finite_is_an_error(vlm, rows):
    with pytest.raises(ModelError, match="the edit's loss is nan; lower learning_rate"):
        tune(vlm, [rows], [down_name(vlm, 0)], TuningPlan(learning_rate=1e38, epochs=4), refusal_objective(1.25))


def test_a_module_that_is_not_linear_is_an_error(vlm):
    with pytest.raises(ModelError, match=r"has no single matrix .*norm"):
        weights_of(vlm, [f"{vlm.layout.decoder_layers}.0.input_layernorm"])
    with pytest.raises(ModelError, match="has no single matrix nothing"):
        weights_of(vlm, ["nothing"])
