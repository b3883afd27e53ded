"""The interface of an exam: anything that asks a model questions and keeps its answers."""

from __future__ import annotations

from typing import Protocol

import pandas as pd

from unsee.core.journal import Journal
from unsee.core.progress import Progress
from unsee.models.vlm import VLM


class Examination(Protocol):
    """Anything that asks a model questions and returns its answers as a table."""

    @property
    def key(self) -> str:
        """Hash of everything that decides the questions and how answers are read."""
        ...

    def examine(
        self,
        vlm: VLM,
        *,
        system: str | None = None,
        name: str = "model",
        progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> pd.DataFrame:
        """Return the answers of a model, from the journal if it holds them; add all others to it."""
        ...
