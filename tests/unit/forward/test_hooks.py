import pytest
import tiny
import torch
from torch import nn

from unsee.forward.hooks import (
    NeuronGate,
    capture,
    frozen,
    gate_gradient,
    gated_linear,
    last_mlp_at,
    replace_forward,
    rewrite_output,
)


def test_states_and_gradients_at_chosen_tokens_do_not_need_the_last_mlp_at_others():
    vlm = tiny.make_vlm()
    batch = tiny.make_batch(vlm)
    place_U = batch.places[0]

    def pulled():
        hidden_UD = vlm.hidden(batch.inputs).flatten(0, 1)[place_U]
        weights = [p for n, p in vlm.model.named_parameters() if n.startswith(vlm.layout.decoder_layers)]
        return hidden_UD.detach(), *torch.autograd.grad(hidden_UD.square().sum(), weights)

    whole = pulled()
    with last_mlp_at(vlm, place_U):
        some = pulled()
    for found, expected in zip(some, whole, strict=True):
        torch.testing.assert_close(found, expected)


def make_gate(rows=2, tokens=3, width=4):
    at = torch.zeros(rows, tokens, dtype=torch.bool)
    at[0, 1] = at[1, 2] = True
    opened = torch.tensor([[True, False, True, False], [False, False, True, True]])[:rows, :width]
    return NeuronGate(at, opened)


def gradients(gate):
    torch.manual_seed(0)
    weight = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, 4, dtype=torch.float64)
    output = gated_linear(inputs, weight, None, gate)
    return *torch.autograd.grad(output, [weight, inputs], upstream), inputs.detach(), upstream, output.detach()


def test_the_gradient_of_a_gated_weight_is_the_sum_of_outer_products_of_open_rows():
    gate = make_gate()
    learned, _, inputs, upstream, _ = gradients(gate)
    expected = torch.zeros(4, 5, dtype=torch.float64)
    for row in range(2):
        for token in range(3):
            passed = upstream[row, token] * (gate.open_BD[row] if gate.at_BT[row, token] else 1)
            expected += torch.outer(passed, inputs[row, token])
    assert torch.allclose(learned, expected, atol=1e-12)


def test_a_gate_on_the_weight_changes_neither_the_output_nor_the_gradient_of_the_input():
    gated, plain = gradients(make_gate()), gradients(None)
    assert torch.equal(gated[-1], plain[-1])
    assert torch.allclose(gated[1], plain[1])
    assert not torch.allclose(gated[0], plain[0])


def test_an_open_gate_is_no_gate():
    gate = make_gate()
    assert torch.allclose(gradients(NeuronGate(gate.at_BT, torch.ones_like(gate.open_BD)))[0], gradients(None)[0])


def test_a_gradient_passes_a_gate_where_it_is_open():
    gate = make_gate()
    hidden = torch.ones(2, 3, 4, requires_grad=True)
    gate_gradient(hidden * 1, gate).sum().backward()
    assert torch.equal(hidden.grad[0, 1], gate.open_BD[0].float())
    assert torch.equal(hidden.grad[0, 0], torch.ones(4))


def test_modules_are_restored_also_after_an_error():
    module, inputs = nn.Linear(3, 3), torch.ones(1, 3)
    own = module(inputs)

    def use():
        with (
            capture([module]) as (seen,),
            rewrite_output({module: lambda output: output + 1}),
            replace_forward({module: lambda given: given * 2}),
            frozen(module),
        ):
            assert torch.equal(module(inputs), inputs * 2 + 1)
            assert torch.equal(seen.input, inputs)
            assert not module.weight.requires_grad
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert torch.equal(module(inputs), own)
    assert not module._forward_hooks
    assert "forward" not in module.__dict__
    assert module.weight.requires_grad


def test_capture_records_the_first_of_several_outputs():
    class Two(nn.Module):
        def forward(self, hidden_states):
            return hidden_states + 1, "more"

    module = Two()
    with rewrite_output({module: lambda output: output * 10}), capture([module]) as (seen,):
        assert module(hidden_states=torch.ones(1)) == (torch.tensor([20.0]), "more")
    assert seen.input == torch.ones(1)
    assert seen.output == 20
