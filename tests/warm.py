"""What most commands import and compute about the program's own code; the server of `forks.py` does it once."""

from importlib import import_module

from unsee.core.source import source_hash

for module in ("unsee.cli", "unsee.runs.run"):
    import_module(module)
for module in ("unsee.exams.documents", "unsee.exams.people", "unsee.runs.stages"):
    source_hash(module)
