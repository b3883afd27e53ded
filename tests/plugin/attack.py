"""An attack."""

from collections.abc import Mapping
from dataclasses import dataclass

from unsee.attacks import ATTACKS
from unsee.attacks.base import QUESTION, Asking, QuestionAttack


@ATTACKS.register("extra_attack", paper="arXiv:0000.00008", label="extra attack")
@dataclass(frozen=True, kw_only=True)
class ExtraAttack(QuestionAttack):
    """Ask politely."""

    word: str = "Please."

    @property
    def askings(self) -> Mapping[str, Asking]:
        return {"politely": Asking(wording=f"{self.word} {QUESTION}")}
