"""Looking into a model and changing what it computes, for the length of a `with` block.

Whatever happens inside a block, its end leaves the modules as they were: no hook, no other forward, nothing frozen.
Shape letters: B rows, T tokens, D outputs of a module, F inputs of a linear module, U places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unsee.models.vlm import VLM

Rewrite = Callable[[Tensor], Tensor]


@dataclass
class Captured:
    """The last thing a module was given and the last thing it gave (the first of several), and its named arguments."""

    input: Tensor = field(default_factory=lambda: torch.empty(0))
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    named: dict[str, Any] = field(default_factory=dict)


@contextmanager
def capture(modules: Sequence[nn.Module]) -> Iterator[list[Captured]]:
    """Keep the inputs and outputs of some modules, as computed, in the order of the modules."""
    kept = [Captured() for _ in modules]

    def keep(index: int, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        kept[index].input = arguments[0] if arguments else next(iter(named.values()))
        kept[index].named = named
        kept[index].output = _first(output)

    with ExitStack() as stack:
        for index, module in enumerate(modules):
            hook = module.register_forward_hook(
                lambda _, arguments, named, output, index=index: keep(index, arguments, named, output), with_kwargs=True
            )
            stack.callback(hook.remove)
        yield kept


@contextmanager
def rewrite(rewrites: Mapping[nn.Module, Rewrite]) -> Iterator[None]:
    """Let a function rewrite the output of each module, its first part where it gives several."""

    def rewritten(change: Rewrite, output: Any) -> Any:
        changed = change(_first(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with ExitStack() as stack:
        for module, change in rewrites.items():
            hook = module.register_forward_hook(lambda _, __, output, change=change: rewritten(change, output))
            stack.callback(hook.remove)
        yield


@contextmanager
def replace(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let modules compute something else; their hooks still run."""
    with ExitStack() as stack:
        for module, forward in forwards.items():
            own = module.__dict__.get("forward")  # set where another library has replaced it before
            stack.callback(_give_back, module, own)
            module.__dict__["forward"] = forward
        yield


@contextmanager
def last_mlp_at(vlm: VLM, place_U: Tensor) -> Iterator[None]:
    """Have the last decoder layer's MLP compute some of the flattened (B * T) tokens only.

    What it would give at the others no other token sees: where the model is asked of these alone, nothing changes.
    """
    *_, last = vlm.model.get_submodule(vlm.layout.decoder_layers).children()
    mlp = last.get_submodule(vlm.layout.mlp)
    run = mlp.forward

    def forward(hidden_BTD: Tensor) -> Tensor:
        output_UD: Tensor = run(hidden_BTD.flatten(0, 1)[place_U])
        zeros = output_UD.new_zeros(hidden_BTD.shape)
        return zeros.flatten(0, 1).index_copy(0, place_U, output_UD).view_as(hidden_BTD)

    with replace({mlp: forward}):
        yield


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Compute no gradient of the model's own weights."""
    training = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in training:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class Gate:
    """Which outputs may be learned from, at which tokens.

    Attributes:
        at_BT: the tokens at which the gate stands; everywhere else all outputs may.
        open_BD: the outputs that pass at those tokens, for each row.
    """

    at_BT: Tensor
    open_BD: Tensor

    def __call__(self, gradient_BTD: Tensor) -> Tensor:
        """The gradient without what the gate holds back."""
        held_BTD = self.at_BT[..., None] & ~self.open_BD[:, None]
        return gradient_BTD.masked_fill(held_BTD, 0)


def gate_gradient(hidden_BTD: Tensor, gate: Gate) -> Tensor:
    """The same values, whose gradient goes through a gate on its way back."""
    passed = hidden_BTD.view_as(hidden_BTD)
    if passed.requires_grad:
        passed.register_hook(gate)
    return passed


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, input_BTF: Tensor, weight_DF: Tensor, bias_D: Tensor | None, gate: Gate) -> Tensor:
        context.save_for_backward(input_BTF, weight_DF)
        context.gate = gate
        return F.linear(input_BTF, weight_DF, bias_D)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        input_BTF, weight_DF = context.saved_tensors
        wanted_input, wanted_weight, *_ = context.needs_input_grad
        input_gradient = gradients[0] @ weight_DF if wanted_input else None
        weight_gradient = None
        if wanted_weight:
            weight_gradient = context.gate(gradients[0]).flatten(0, 1).T @ input_BTF.flatten(0, 1)
        return input_gradient, weight_gradient, None, None


def gated_linear(input_BTF: Tensor, weight_DF: Tensor, bias_D: Tensor | None, gate: Gate | None) -> Tensor:
    """A linear map whose weight, and nothing else, learns through a gate.

    Source: arXiv:2603.12598, Eq. 7: each row of the weight's gradient is the sum of the outer products of the tokens
    at which its gate is open; what flows on to lower layers is left whole, so that several gates do not compound.
    """
    if gate is None:
        return F.linear(input_BTF, weight_DF, bias_D)
    output: Tensor = _GatedLinear.apply(input_BTF, weight_DF, bias_D, gate)  # type: ignore[no-untyped-call]
    return output


def _first(output: Any) -> Tensor:
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first


def _give_back(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        module.__dict__.pop("forward", None)
    else:
        module.__dict__["forward"] = forward
