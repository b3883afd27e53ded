"""Vision-language models: one adapter, one family per file, and the base models shipped with the package.

How to add a family: write `models/<name>.py` with one subclass of `Family` (`family.py`) under
`@MODELS.register("<name>")`; the name is the transformers `model_type`. The subclass holds the paths of the family's
parts and overrides what the family does differently. If transformers lacks the model class, the file registers it
there. Nothing else needs an edit to use it. The contract tests of this repository also want a tiny model of the family
in `tests/families.py` and its prompts in `tests/golden`.
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
