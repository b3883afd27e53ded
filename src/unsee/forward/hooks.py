"""Reads and changes what modules compute, for the length of a `with` block.

Every block restores the modules when it ends, also by an error: hooks, forwards and `requires_grad` are as before.
Shape letters: B rows, T tokens, D outputs of a module, F inputs of a linear module, U chosen tokens.
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
    """The arguments and the output of a module's last call.

    Attributes:
        input: its first argument.
        output: its output; the first part if there are several.
        named: its keyword arguments.
    """

    input: Tensor = field(default_factory=lambda: torch.empty(0))
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    named: dict[str, Any] = field(default_factory=dict)


@contextmanager
def capture(modules: Sequence[nn.Module]) -> Iterator[list[Captured]]:
    """Record the last call of each module, in the order of the modules."""
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
def rewrite_output(rewrites: Mapping[nn.Module, Rewrite]) -> Iterator[None]:
    """Pass the output of each module through a function; the first part if there are several."""

    def rewritten(change: Rewrite, output: Any) -> Any:
        changed = change(_first(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with ExitStack() as stack:
        for module, change in rewrites.items():
            hook = module.register_forward_hook(lambda _, __, output, change=change: rewritten(change, output))
            stack.callback(hook.remove)
        yield


@contextmanager
def replace_forward(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Replace the forward function of modules; their hooks still run."""
    with ExitStack() as stack:
        for module, forward in forwards.items():
            own = module.__dict__.get("forward")  # present if another library has replaced it
            stack.callback(_restore_forward, module, own)
            module.__dict__["forward"] = forward
        yield


@contextmanager
def last_mlp_at(vlm: VLM, place_U: Tensor) -> Iterator[None]:
    """Compute the last decoder layer's MLP at some of the flattened (B * T) tokens only, and 0 at the others.

    No other token reads the output of this MLP, so the model's output at the chosen tokens stays the same.
    """
    *_, last = vlm.model.get_submodule(vlm.layout.decoder_layers).children()
    mlp = last.get_submodule(vlm.layout.mlp)
    run = mlp.forward

    def forward(hidden_BTD: Tensor) -> Tensor:
        output_UD: Tensor = run(hidden_BTD.flatten(0, 1)[place_U])
        zeros = output_UD.new_zeros(hidden_BTD.shape)
        return zeros.flatten(0, 1).index_copy(0, place_U, output_UD).view_as(hidden_BTD)

    with replace_forward({mlp: forward}):
        yield


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Turn off the gradients of all parameters of a model."""
    training = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in training:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class NeuronGate:
    """A mask of a gradient: at some tokens only the gradient of some outputs passes.

    Attributes:
        at_BT: the gated tokens; at all others the whole gradient passes.
        open_BD: the outputs whose gradient passes at gated tokens, for each row.
    """

    at_BT: Tensor
    open_BD: Tensor

    def __call__(self, gradient_BTD: Tensor) -> Tensor:
        """Return the gradient with 0 where the gate is closed."""
        held_BTD = self.at_BT[..., None] & ~self.open_BD[:, None]
        return gradient_BTD.masked_fill(held_BTD, 0)


def gate_gradient(hidden_BTD: Tensor, gate: NeuronGate) -> Tensor:
    """Return the same values; their gradient passes the gate."""
    passed = hidden_BTD.view_as(hidden_BTD)
    if passed.requires_grad:
        passed.register_hook(gate)
    return passed


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, input_BTF: Tensor, weight_DF: Tensor, bias_D: Tensor | None, gate: NeuronGate) -> Tensor:
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


def gated_linear(input_BTF: Tensor, weight_DF: Tensor, bias_D: Tensor | None, gate: NeuronGate | None) -> Tensor:
    """Compute a linear map; only the gradient of its weight is gated.

    Source: arXiv:2603.12598, Eq. 7: each row of the weight's gradient sums the outer products of the tokens at which
    its gate is open. The gradient of the input is not gated, so gates in several layers do not compound.
    """
    if gate is None:
        return F.linear(input_BTF, weight_DF, bias_D)
    output: Tensor = _GatedLinear.apply(input_BTF, weight_DF, bias_D, gate)  # type: ignore[no-untyped-call]
    return output


def _first(output: Any) -> Tensor:
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first


def _restore_forward(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        module.__dict__.pop("forward", None)
    else:
        module.__dict__["forward"] = forward
