"""Privacy benchmarks: pictures, private questions about them, and harmless questions about the same pictures.

How to add one: write `data/documents/<name>.py` with one subclass of `PrivacyFormat` (`base.py`) under
`@PRIVACY.register("<name>")`. Its `load` reads a folder into a `PrivacyBenchmark` (`schema.py`). Nothing else needs an
edit: `unsee privacy eval --benchmark <name> --data DIR` uses it, and so does a run about documents with
`privacy.format = "<name>"` and `privacy.source = "DIR"`, or with a table `[privacy.out_of_domain.<name>]`.
"""

from __future__ import annotations

from unsee.core.registry import Registry

PRIVACY = Registry("privacy benchmark", package="unsee.data.documents", group="unsee.privacy")

__all__ = ["PRIVACY"]
