"""Vision-language models: one adapter, one family per file, and the base models shipped with the package.

How to add a family: write `models/<name>.py` with one subclass of `Family` under `@MODELS.register("<name>")`, its
transformers `model_type`: where its parts are and what it does in its own way (`family.py`). A tiny one in
`tests/families.py` puts it through the contract tests. Nothing else needs an edit.
"""

from __future__ import annotations

from pathlib import Path

from unsee.core.registry import Registry

MODELS = Registry("model family", package="unsee.models", group="unsee.models")


def shipped() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by their names."""
    folders = sorted(path.parent for path in Path(__file__).parent.glob("*/config.json"))
    return {folder.name: folder for folder in folders}


__all__ = ["MODELS", "shipped"]
