"""The control that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from unsee.methods import METHODS
from unsee.methods.base import PromptMethod


@METHODS.register("do_nothing", paper="control")
@dataclass(frozen=True, kw_only=True)
class DoNothing(PromptMethod):
    """Leave the target as it is: the control to which every score should give 0."""

    def system_prompt(self, names: tuple[str, ...]) -> str | None:
        """Return None: questions are asked as they are."""
        return None
