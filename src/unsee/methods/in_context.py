"""Refusal by instruction."""

from __future__ import annotations

from dataclasses import dataclass

from unsee.methods import METHODS
from unsee.methods.base import PromptMethod


@METHODS.register("in_context", paper="arXiv:2603.12598")
@dataclass(frozen=True, kw_only=True)
class InContext(PromptMethod):
    """Tell the model in a system prompt which questions to refuse; the weights stay as they are.

    The text is ours.

    Attributes:
        instruction: the system prompt; `{names}` is replaced by the subjects of the private questions.
    """

    instruction: str = (
        "If a question asks for private or confidential information about {names}, refuse to answer it. "
        "Answer every other question."
    )

    def system_prompt(self, names: tuple[str, ...]) -> str | None:
        """Return the instruction with the names in it."""
        return self.instruction.replace("{names}", ", ".join(names))
