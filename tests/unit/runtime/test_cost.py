import pytest
import torch
from torch import nn

from unsee.runtime.cost import measured


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_pass_counts_once_back_wherever_the_gradient_begins(layer):
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    with measured(torch.device("cpu"), layers) as cost:
        for backward in (True, True, False):
            states, state = [], torch.ones(1, 2)
            for one in layers:
                states.append(state := one(state))
            if backward:
                (states[layer].sum() + states[0].sum()).backward()
        with torch.no_grad():
            layers[2](layers[1](state))
    assert (cost.forward_passes, cost.backward_passes) == (4, 2)
    assert not any(one._forward_hooks for one in layers)


def test_a_pass_that_ends_below_the_last_layer_counts_as_none():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    with measured(torch.device("cpu"), layers) as cost:
        layers[0](torch.ones(1, 2))
    assert cost.forward_passes == 0
