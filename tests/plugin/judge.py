"""A judge of factuality."""

from collections.abc import Sequence
from dataclasses import dataclass

from unsee.core.progress import Progress
from unsee.judge import JUDGES
from unsee.judge.base import Docket, Judge, Verdict


@JUDGES.register("extra_judge", paper="arXiv:0000.00004")
@dataclass(frozen=True, kw_only=True)
class ExtraJudge(Judge):
    """An answer is true if it contains the truth word for word."""

    worst: int = 1

    @property
    def label(self) -> str:
        return f"extra judge, worst {self.worst}"

    def judge(self, docket: Docket, progress: Progress) -> Sequence[Verdict]:
        return [Verdict(10 if case.truth in case.answer else self.worst, "compared") for case in docket.cases]
