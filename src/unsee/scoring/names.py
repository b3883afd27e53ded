"""Readable names of methods, controls and sets, for the report, Markdown and the terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from unsee.core.registry import Registry

_METHODS = Registry(
    "method", package="unsee.methods", group="unsee.methods"
)  # read from the files, without importing them
_METRICS = {
    "accuracy": "accuracy", "rouge_l": "ROUGE-L", "eta": "EtA", "rta": "RtA", "over_refusal": "over-refusal",
    "leak_rate": "leak rate", "benign_correct": "benign right", "general": "general", "acc_f": "AccF",
    "acc_r": "AccR", "rl_f": "RLF", "rl_r": "RLR", "truth_ratio": "truth ratio", "keyword_recall": "keyword recall",
}  # fmt: skip
_OTHERS = {"oracle_2": "second oracle", "base": "base model"}
_MODEL = re.compile(r"(?P<name>.+?)(?:-(?P<modality>image|text|both))?(?:-(?P<seed>\d+))?")


def readable(name: str) -> str:
    """Return the readable name of a method, a control or a set; that of a method is in its own file."""
    labels = {leaf.name: leaf.label for leaf in _METHODS.leaves()}
    return _OTHERS.get(name) or labels.get(name) or name.replace("_", " ")


def readable_model(name: str, methods: Collection[str]) -> str:
    """Return the readable name of a model in the log: its method, then modality and seed if it has them."""
    match = _MODEL.fullmatch(name)
    if match is None or name in methods:
        return readable(name)
    parts = [readable(match["name"]), match["modality"], match["seed"] and f"seed {match['seed']}"]
    return " · ".join(filter(None, parts))


def readable_metric(name: str) -> str:
    """Return the readable name of a metric; that of another distribution is its registered name."""
    return _METRICS.get(name, name)


def heading(field: str) -> str:
    """Return the heading of a column from the name of its field."""
    return _METRICS.get(field) or field.replace("_", " ")


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: "a, b and c"; "" if there are none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
