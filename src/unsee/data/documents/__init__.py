"""Privacy benchmarks: pictures, private questions about them, and harmless ones beside these.

How to add one: write `data/privacy/<name>.py` with one function `(folder, images) -> PrivacyBenchmark` under
`@PRIVACY.register("<name>")` that reads a folder in its own format (see `schema.py`). Nothing else needs an edit.
"""

from __future__ import annotations

from unsee.core.registry import Registry

PRIVACY = Registry("privacy benchmark", package="unsee.data.documents", group="unsee.privacy")

__all__ = ["PRIVACY"]
