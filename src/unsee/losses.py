"""The losses of the unlearning methods on plain tensors, for a training loop of your own.

    from unsee import losses

    kept = losses.Pass(retain_logits, retain_labels)
    loss = losses.npo(logits, labels, reference_logits, retain=kept, beta=0.5)

There is one function for each method that minimises a loss (`losses.names()`), those that other distributions add among
them:

    NAME(logits, labels, reference=None, *, hidden={}, reference_hidden={}, **sides_and_options) -> Tensor

The tensors are those of a `Pass` over the method's first side, which is "forget" but for IDK ("refusal"). The other
sides ("retain", "refusal", "swapped", ...; `unsee.methods.base.Side`) are given by name, each as a `Pass`; so are the
options of the method's recipe, but for those of a training (learning_rate, steps). Without a retain
side, `retain_weight` is 0 unless it is given. The result is the loss to minimise, a scalar. A ConfigError names a
tensor, a side or an option that is missing or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from functools import cache
from types import MappingProxyType
from typing import Any, get_args

import torch
from torch import Tensor

from unsee.config.arguments import checked
from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError, UnknownNameError, did_you_mean
from unsee.forward.losses import Scored
from unsee.methods import METHODS
from unsee.methods.base import ArithmeticMethod, GradientMethod, LossMethod, Side, StepBatch

_OF_TRAINING = {own.name for own in fields_of(LossMethod)} | {"num_batches", "check_every", "schedule", "others"}
IGNORED = -100
"""The label of a token that is not scored, as in transformers."""


@checked("losses.Pass")
@dataclass(frozen=True)
class Pass:
    """What a forward pass over a batch gave, one answer a row.

    Attributes:
        logits: (B, T, V) of the model in training, as it returns them: those at t predict the token at t + 1.
        labels: (B, T) tokens, `IGNORED` where nothing is to be scored.
        reference: (B, T, V) logits of the reference model; None where the loss asks for none.
        hidden: outputs of decoder layers (B, T, D), by layer from 0, for losses on hidden states (RMU).
        reference_hidden: those of the reference model.
    """

    logits: Tensor
    labels: Tensor
    reference: Tensor | None = None
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    reference_hidden: Mapping[int, Tensor] = field(default_factory=dict)


def names() -> list[str]:
    """Return the methods that have a loss here."""
    return [leaf.name for leaf in METHODS.leaves() if _is_loss(METHODS.get(leaf.name))]


def __getattr__(name: str) -> Callable[..., Tensor]:
    if name.startswith("_") or name not in METHODS.names():
        raise AttributeError(f"module 'unsee.losses' has no attribute '{name}'{did_you_mean(name, METHODS.names())}")
    if not _is_loss(METHODS.get(name)):
        raise AttributeError(
            f"losses.{name}: this method is more than a loss; use it by a recipe, or one of: {', '.join(names())}"
        )
    return _function(name)


def __dir__() -> list[str]:
    return ["IGNORED", "Pass", "names", *names()]


def _is_loss(method: object) -> bool:
    return (
        isinstance(method, type)
        and issubclass(method, LossMethod)
        and not issubclass(method, (GradientMethod, ArithmeticMethod))
    )


@cache
def _function(name: str) -> Callable[..., Tensor]:
    @checked(f"losses.{name}")
    def loss(
        logits: Tensor, labels: Tensor, reference: Tensor | None = None, *,
        hidden: Mapping[int, Tensor] = MappingProxyType({}),
        reference_hidden: Mapping[int, Tensor] = MappingProxyType({}), **given: Any,
    ) -> Tensor:  # fmt: skip
        """Return the loss of a method; the docstring of the module has the arguments."""
        return _loss(name, Pass(logits, labels, reference, hidden, reference_hidden), given)

    return loss


def _loss(name: str, first: Pass, given: dict[str, Any]) -> Tensor:
    """Return the loss of a method over its first side and what else was given by name."""
    where = f"losses.{name}"
    sides = {side: given.pop(side) for side in get_args(Side) if side in given}
    method = _method(name, given, with_retain="retain" in sides)
    passes = {method.sides[0]: first, **sides}
    if "retain" not in sides and getattr(method, "retain_weight", 1) == 0:
        passes["retain"] = first  # for methods that compute the retain term whatever its weight
    _check_sides(where, method, passes)

    def model(side: Any) -> Scored:
        one = passes[side]
        if method.hidden_layers:
            _check_layers(where, f"hidden of the {side} side", one.hidden, first.hidden)
        return _scored(f"{where}: {side}", one.logits, one.labels, one.hidden, side in method.whole_sides)

    def before(side: Any) -> Scored:
        one = passes[side]
        if one.reference is None:
            raise ConfigError(f"{where}: needs the reference model's logits of the {side} side")
        if one.reference.shape != one.logits.shape:
            raise ConfigError(f"{where}: reference and logits of the {side} side differ in shape")
        if method.hidden_layers:
            _check_layers(where, f"reference_hidden of the {side} side", one.reference_hidden, first.hidden)
        with torch.no_grad():
            return _scored(
                f"{where}: reference, {side}",
                one.reference,
                one.labels,
                one.reference_hidden,
                side in method.whole_sides,
            )

    named: Any = {side: side for side in method.sides}  # a method only hands batches on to its models
    return method.loss(model, before, StepBatch(named)).total


def _check_layers(where: str, what: str, given: Mapping[int, Tensor], first: Mapping[int, Tensor]) -> None:
    """Refuse outputs of no decoder layer, or of other layers or widths than those of the first side."""
    own, wanted = ({layer: state.shape[-1] for layer, state in one.items()} for one in (given, first))
    if not own or own != wanted:
        raise ConfigError(
            f"{where}: needs outputs of decoder layers as hidden={{layer: (B, T, D) states}}, the same layers and "
            f"widths on each side and of the reference; {what}: {own or 'none'}, first side: {wanted or 'none'}"
        )


def _method(name: str, options: Mapping[str, Any], with_retain: bool) -> LossMethod:
    cls = METHODS.get(name)
    known = {own.name for own in fields_of(cls)}
    for option in options:
        if option in _OF_TRAINING:
            raise ConfigError(f"losses.{name}: {option} is an option of a training, which has no part in a loss")
        if option not in known:
            raise UnknownNameError(f"losses.{name}: argument", option, known - _OF_TRAINING | {*cls().sides})
    if not with_retain and "retain_weight" in known:
        options = {"retain_weight": 0.0, **options}
    found: LossMethod = build_dataclass(cls, options, f"losses.{name}")
    return found


def _check_sides(where: str, method: LossMethod, passes: Mapping[str, Pass]) -> None:
    """Refuse sides that are missing, unknown or of other sizes."""
    first, *others = method.sides
    for side, one in passes.items():
        if not isinstance(one, Pass):
            raise ConfigError(f"{where}: {side} must be a losses.Pass, not {type(one).__name__}")
        if side not in (*method.sides, "retain") or (side == "retain" and not hasattr(method, "retain_weight")):
            known = ", ".join(others) or "none"
            raise ConfigError(f"{where}: has no side '{side}'; logits and labels are of '{first}', others: {known}")
        if side != "retain" and len(one.labels) != len(passes[first].labels):
            raise ConfigError(
                f"{where}: {side} has {len(one.labels)} rows and {first} {len(passes[first].labels)}; row i of one "
                "belongs to row i of the other"
            )
    if missing := [side for side in method.sides if side not in passes]:
        raise ConfigError(f"{where}: needs a Pass over each of its sides; missing: {', '.join(missing)}")


def _scored(where: str, logits_BTV: Tensor, labels_BT: Tensor, hidden: Mapping[int, Tensor], whole: bool) -> Scored:
    """Return the scores of the labelled tokens of one pass."""
    for what, tensor in {
        "logits": logits_BTV,
        **{f"hidden[{layer}]": state for layer, state in hidden.items()},
    }.items():
        if not tensor.is_floating_point():
            raise ConfigError(f"{where}: {what} must hold floating-point numbers, got {tensor.dtype}")
    if labels_BT.is_floating_point() or labels_BT.is_complex() or labels_BT.dtype == torch.bool:
        raise ConfigError(f"{where}: labels must hold whole numbers, got {labels_BT.dtype}")
    if logits_BTV.ndim != 3 or logits_BTV.shape[:-1] != labels_BT.shape:
        raise ConfigError(f"{where}: logits {tuple(logits_BTV.shape)} do not belong to labels {tuple(labels_BT.shape)}")
    used = labels_BT[labels_BT != IGNORED]
    if len(used) and not (int(used.min()) >= 0 and int(used.max()) < logits_BTV.shape[-1]):
        raise ConfigError(f"{where}: labels must be {IGNORED} or tokens from 0 to {logits_BTV.shape[-1] - 1}")
    for layer, state_BTD in hidden.items():
        if state_BTD.shape[:-1] != labels_BT.shape:
            raise ConfigError(f"{where}: hidden[{layer}] {tuple(state_BTD.shape)} does not belong to the labels")
    next_BT = torch.nn.functional.pad(labels_BT[:, 1:], (0, 1), value=IGNORED).to(logits_BTV.device)
    scored_N = (next_BT != IGNORED).flatten().nonzero().flatten()
    if len(scored_N) == 0:
        raise ConfigError(f"{where}: no label of this batch is scored; all are {IGNORED}")
    taken_U = torch.arange(next_BT.numel(), device=scored_N.device) if whole else scored_N
    return Scored(
        logits_BTV.flatten(0, 1)[taken_U],
        scored_N if whole else torch.arange(len(scored_N), device=scored_N.device),
        next_BT.flatten()[scored_N],
        scored_N // next_BT.shape[1],
        len(next_BT),
        {layer: state_BTD.flatten(0, 1)[taken_U] for layer, state_BTD in hidden.items()},
        taken_U if whole else None,
    )
