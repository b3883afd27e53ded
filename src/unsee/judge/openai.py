"""A judging model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unsee.core.journal import Journal
from unsee.core.progress import Progress
from unsee.judge import JUDGES
from unsee.judge.asking import Asking, Chat
from unsee.judge.base import Case, Costs, Docket, Judge, Verdict
from unsee.judge.rubric import RUBRIC, messages, read_reply

JOURNAL = "judge-journal.jsonl"
SENT = "questions, true answers and the models' answers, those about people to forget among them"


@JUDGES.register("openai", paper="arXiv:2410.22108")
@dataclass(frozen=True, kw_only=True)
class OpenAI(Asking, Judge):
    """Ask a model for the published factuality score; questions and answers leave the machine."""

    @property
    def label(self) -> str:
        """The model and the rubric."""
        return f"{self.model}, {RUBRIC}"

    def costs(self, docket: Docket) -> Costs:
        """Return the costs of the cases that the journal does not hold."""
        return self.price_of(self._chats(docket), _journal(docket), SENT)

    def judge(self, docket: Docket, progress: Progress) -> Sequence[Verdict]:
        """Return one verdict per case; only those without a score in the journal are asked for.

        Raises:
            JudgeError: the endpoint refuses or cannot be reached.
        """
        journal = _journal(docket)
        self.ask(self._chats(docket), read_reply, journal, progress)
        scores = [journal.get(self._key(case)) for case in docket.cases]
        return [Verdict(score, "" if score else "reply without a score") for score in scores]

    def _chats(self, docket: Docket) -> dict[str, Chat]:
        return {self._key(case): messages(case) for case in docket.cases}

    def _key(self, case: Case) -> str:
        return self.journal_key(RUBRIC, case.question, case.answer, case.truth)


def _journal(docket: Docket) -> Journal:
    return Journal(docket.record.folder / JOURNAL)
