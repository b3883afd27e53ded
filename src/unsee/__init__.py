"""Makes vision-language models forget people, and measures how far that is from never having seen them.

    import unsee

    result = unsee.run_recipe(unsee.load_recipe("quick", ["data.people=40"]))
    print(result.report)

Importing the package is light: a public name brings its module, and torch where it needs it, when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unsee.config.recipe import load_recipe
    from unsee.data.pairs import load_pairs
    from unsee.data.people.builder import build
    from unsee.data.people.source import open_benchmark as load
    from unsee.edits.edit import Edit, Editor
    from unsee.evaluation import EvaluationCallback, attack, evaluate, score, with_metrics
    from unsee.models.vlm import VLM
    from unsee.runs.run import run as run_recipe

__version__ = "0.1.0"

__all__ = [
    "VLM", "Edit", "Editor", "EvaluationCallback", "attack", "build", "evaluate", "load", "load_pairs", "load_recipe",
    "losses", "run_recipe", "score", "with_metrics",
]  # fmt: skip

_HOMES = {
    "Edit": ("unsee.edits.edit", "Edit"),
    "Editor": ("unsee.edits.edit", "Editor"),
    "EvaluationCallback": ("unsee.evaluation", "EvaluationCallback"),
    "VLM": ("unsee.models.vlm", "VLM"),
    "attack": ("unsee.evaluation", "attack"),
    "build": ("unsee.data.people.builder", "build"),
    "evaluate": ("unsee.evaluation", "evaluate"),
    "load": ("unsee.data.people.source", "open_benchmark"),
    "load_pairs": ("unsee.data.pairs", "load_pairs"),
    "load_recipe": ("unsee.config.recipe", "load_recipe"),
    "losses": ("unsee.losses", ""),
    "run_recipe": ("unsee.runs.run", "run"),
    "score": ("unsee.evaluation", "score"),
    "with_metrics": ("unsee.evaluation", "with_metrics"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        from unsee.core.errors import did_you_mean

        raise AttributeError(f"module 'unsee' has no attribute '{name}'{did_you_mean(name, __all__)}")
    module, attribute = _HOMES[name]
    home = importlib.import_module(module)
    value: object = getattr(home, attribute) if attribute else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
