"""The lists of `unsee list`: every name with its summary, read without importing the leaves."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from unsee.core.errors import UnknownNameError

if TYPE_CHECKING:
    from unsee.core.registry import Registry

Lines = list[tuple[str, str]]


def lines_of(kind: str) -> Lines:
    """Return the names of one kind with their summaries.

    Raises:
        UnknownNameError: no kind has this name.
    """
    if kind not in LISTS:
        raise UnknownNameError("list", kind, LISTS)
    return LISTS[kind]()


def _registered(package: str, name: str) -> Lines:
    """Return the leaves of a registry: summary, paper, and the distribution of a plug-in."""
    registry: Registry = getattr(importlib.import_module(package), name)
    return [
        (leaf.name, " ".join(filter(None, (leaf.summary, _in(leaf.paper, "()"), _in(leaf.distribution, "[]")))))
        for leaf in registry.leaves()
    ]


def _in(text: str, brackets: str) -> str:
    return f"{brackets[0]}{text}{brackets[1]}" if text else ""


def _models() -> Lines:
    from unsee.models import shipped

    return [(name, "Shipped with unsee.") for name in shipped()] + [
        (name, f"Family, from a folder or the hub: {summary}")
        for name, summary in _registered("unsee.models", "MODELS")
    ]


def _recipes() -> Lines:
    from unsee.config.recipe import RECIPES, recipe_names

    def first_sentence(name: str) -> str:
        lines = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
        return comment.partition(". ")[0].rstrip(".") + "."

    return [(name, first_sentence(name)) for name in recipe_names()]


LISTS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "methods": partial(_registered, "unsee.methods", "METHODS"),
    "attacks": partial(_registered, "unsee.attacks", "ATTACKS"),
    "metrics": partial(_registered, "unsee.metrics", "METRICS"),
    "models": _models,
    "datasets": partial(_registered, "unsee.data.people", "DATASETS"),
    "privacy": partial(_registered, "unsee.data.documents", "PRIVACY"),
    "judges": partial(_registered, "unsee.judge", "JUDGES"),
    "refusals": partial(_registered, "unsee.refusals", "REFUSALS"),
    "utility": partial(_registered, "unsee.utility", "UTILITY"),
    "recipes": _recipes,
}
