"""The errors of pydantic in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = (
    (("int_",), "must be a whole number"),
    (("float_",), "must be a number"),
    (("finite_number",), "must be a finite number"),
    (("bool_",), "must be true or false"),
    (("string_type", "string_unicode"), "must be a text"),
    (("string_too_short",), "must not be empty"),
    (("tuple_type", "list_type", "set_type"), "must be a list"),
    (("too_short",), "must hold at least one value"),
    (("model_type", "dict_type", "dataclass_type", "model_attributes_type"), "must be a table"),
    (("missing",), "missing; it has no default"),
    (("extra_forbidden",), "unknown"),
    (("none_required",), "must be left out"),
)


def reason(error: Mapping[str, Any]) -> str:
    """Return one clause that says what is allowed; `error` is one of `ValidationError.errors()`."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    for starts, clause in _KINDS:
        if error["type"].startswith(starts):
            return clause
    clause = str(error["msg"]).replace("Input should be", "must be").partition(", got")[0]
    return clause[:1].lower() + clause[1:]


def shown(value: object) -> str:
    """Return a value for a message, shortened."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of more than 4,300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
