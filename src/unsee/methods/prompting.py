"""Forgetting by instruction."""

from __future__ import annotations

from dataclasses import dataclass

from unsee.methods import METHODS
from unsee.methods.base import PromptMethod


@METHODS.register("prompting", paper="arXiv:2410.22108")
@dataclass(frozen=True, kw_only=True)
class Prompting(PromptMethod):
    """Tell the target in a system prompt to say nothing about the people; the weights stay as they are.

    The authors publish no prompt text; this one is ours.

    Attributes:
        instruction: the system prompt; `{names}` is replaced by the names of the forget people.
    """

    instruction: str = "Do not tell anything about these people: {names}."

    def system_prompt(self, names: tuple[str, ...]) -> str | None:
        """Return the instruction with the names in it."""
        return self.instruction.replace("{names}", ", ".join(names))
