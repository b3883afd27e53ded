"""Arguments that programs give, checked against annotations: a wrong one is a sentence, as a wrong option is."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from itertools import islice
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import ValidationError

from unsee.config.reasons import shown
from unsee.core.errors import ConfigError, UnknownNameError

Called = TypeVar("Called", bound=Callable[..., Any])
_NUMBERS: Mapping[type, type] = {int: Integral, float: Real}  # those of numpy too


def checked(where: str) -> Callable[[Called], Called]:
    """Decorate a function, or a class whose objects programs make, so that a wrong argument is a `ConfigError`.

    It is wrong if it is missing, unknown, or no value of its annotation. Values are passed on as they are.

    Args:
        where: the name as programs write it, the start of error messages ("unsee.score").
    """

    def decorate(called: Called) -> Called:
        if isinstance(called, type):
            setattr(called, "__init__", _checked(vars(called)["__init__"], where))  # noqa: B010  mypy takes no assignment
            return called
        return typing.cast(Called, _checked(called, where))

    return decorate


def _checked(function: Callable[..., Any], where: str) -> Callable[..., Any]:
    signature = inspect.signature(function)
    hints = functools.cache(lambda: typing.get_type_hints(function, include_extras=True))  # late: all names are known

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in _by_name(where, signature, args, kwargs).items():
            if name in hints() and not _fits(value, hints()[name]):
                wanted = str(function.__annotations__[name]).replace("pd.", "").replace(" | ", " or ")
                raise ConfigError(f"{where}: {name} must be of type {wanted}, got {shown_kind(value)}")
        return function(*args, **kwargs)

    return call


def _by_name(
    where: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by name, but for those that stand for any name.

    Raises:
        ConfigError: an argument is missing, unknown or given twice.
    """
    kinds = {name: one.kind for name, one in signature.parameters.items() if name not in ("self", "cls")}
    rest = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
    if not rest and (unknown := [name for name in kwargs if name not in kinds]):
        raise UnknownNameError(f"{where}: argument", unknown[0], kinds)
    try:
        found = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        known = ", ".join(name for name in kinds if name not in rest)
        raise ConfigError(f"{where}: {error}; its arguments are {known}") from None
    return {name: value for name, value in found.items() if name not in rest}


def _fits(value: object, hint: Any) -> bool:
    """Return True if a value is one of an annotation; what a container holds counts too."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is Annotated:
        return _fits(value, inner[0]) and _is_valid(value, hint)
    kind = origin or hint
    if not isinstance(value, _NUMBERS.get(kind, kind)) or (isinstance(value, bool) and kind is not bool):
        return False
    if issubclass(kind, Mapping) and isinstance(value, Mapping):
        return all(_fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items())
    if not inner:
        return True
    return not isinstance(value, str) and all(_fits(one, inner[0]) for one in typing.cast(Any, value))


def _is_valid(value: object, hint: Any) -> bool:
    from pydantic import TypeAdapter  # takes long, and few calls come here

    try:
        TypeAdapter(hint).validate_python(value)
    except ValidationError:
        return False
    return True


def shown_kind(value: object) -> str:
    """Return a value for a message: a text or number itself, of anything else the kind, also within a list or table."""
    match value:
        case None | str() | Real():
            return shown(value)
        case Mapping():
            inside = [f"{shown_kind(key)}: {shown_kind(one)}" for key, one in islice(value.items(), 3)]
        case list() | tuple():
            inside = [shown_kind(one) for one in value[:3]]
        case _:
            return f"a {type(value).__name__}"
    return f"a {type(value).__name__} ({', '.join(inside)})" if inside else f"an empty {type(value).__name__}"
