"""A judging model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from unsee.errors import UnseeError
from unsee.judge import JUDGES
from unsee.judge.base import Case, Costs, Docket, Verdict
from unsee.judge.endpoint import Endpoint, Pacer, Stopped
from unsee.judge.journal import Journal
from unsee.judge.rubric import MAX_REPLY_TOKENS, RUBRIC, messages, read_reply
from unsee.progress import Progress

JOURNAL = "judge-journal.jsonl"
_BYTES_PER_TOKEN = 4  # of English text; the estimate says "about"


def _from_environment(name: str, default: str = "") -> Any:
    return field(default_factory=lambda: os.environ.get(name) or default)


@JUDGES.register("openai", paper="arXiv:2410.22108")
@dataclass(frozen=True, kw_only=True)
class OpenAI:
    """Asks a model for the published factuality score; questions and answers leave the machine.

    Attributes:
        model: its name at the endpoint; by default `UNSEE_JUDGE_MODEL`.
        base_url: the endpoint; by default `OPENAI_BASE_URL`, else OpenAI's own.
        key: by default `OPENAI_API_KEY`; "" where the endpoint asks for none.
        concurrency: requests under way at once.
        requests_per_minute: started, retries included.
        timeout_seconds: for connecting and for each silence of the server.
        attempts: how often one request is tried.
        backoff_seconds: the wait before the second attempt; doubles with each.
        price_in: per million tokens sent.
        price_out: per million tokens received.
        body: merged into every request; a null takes a parameter out.
    """

    model: str = _from_environment("UNSEE_JUDGE_MODEL")
    base_url: str = _from_environment("OPENAI_BASE_URL", "https://api.openai.com/v1")
    key: str = field(default_factory=lambda: os.environ.get("OPENAI_API_KEY", ""), repr=False)
    concurrency: PositiveInt = 8
    requests_per_minute: PositiveFloat = 300.0
    timeout_seconds: PositiveFloat = 60.0
    attempts: PositiveInt = 6
    backoff_seconds: PositiveFloat = 1.0
    price_in: NonNegativeFloat | None = None
    price_out: NonNegativeFloat | None = None
    body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("no model named; give --model or set UNSEE_JUDGE_MODEL")
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname or address.username or address.query:
            raise ValueError("the base URL must be a plain http or https address, such as http://localhost:8000/v1")
        if not self.key.isascii() or any(not c.isprintable() or c.isspace() for c in self.key):
            raise ValueError("the key holds spaces or signs no key has; check OPENAI_API_KEY")
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("one price without the other; give both --price-in and --price-out")

    @property
    def label(self) -> str:
        """Model and rubric."""
        return f"{self.model}, {RUBRIC}"

    def costs(self, docket: Docket) -> Costs:
        """What is still to be asked, and about what it takes."""
        waiting = self._waiting(docket, Journal(docket.record.folder / JOURNAL))
        sent = sum(len(json.dumps(self._request(case)).encode()) for case in waiting.values())
        tokens_in, tokens_out = -(-sent // _BYTES_PER_TOKEN), MAX_REPLY_TOKENS * len(waiting)
        price = None
        if self.price_in is not None and self.price_out is not None:
            price = (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
        known = len(docket.cases) - len(waiting)
        return Costs(urlsplit(self.base_url).netloc, len(waiting), known, tokens_in, tokens_out, price)

    def judge(self, docket: Docket, progress: Progress) -> Sequence[Verdict]:
        """One verdict per case; what the journal holds is not asked again.

        On an error or an interrupt the requests under way are still heard out and noted: they are paid for.

        Raises:
            JudgeError: the endpoint refuses or cannot be reached.
        """
        journal, stop = Journal(docket.record.folder / JOURNAL), threading.Event()
        endpoint = Endpoint(
            self.base_url, self.key, Pacer(60 / self.requests_per_minute, stop),
            timeout_seconds=self.timeout_seconds, attempts=self.attempts, backoff_seconds=self.backoff_seconds,
        )  # fmt: skip

        def ask(key: str, case: Case) -> None:
            try:
                journal.add(key, read_reply(endpoint.complete(self._request(case))))
            except UnseeError:
                stop.set()
                raise

        waiting = self._waiting(docket, journal)
        with progress.task("judge", len(waiting)) as advance, ThreadPoolExecutor(self.concurrency) as pool:
            try:
                for done in as_completed([pool.submit(ask, key, case) for key, case in waiting.items()]):
                    with suppress(Stopped):  # the failure that stopped the others is raised by its own call
                        done.result()
                        advance(1)
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        scores = [journal[self._key(case)] for case in docket.cases]
        return [Verdict(score, "" if score else "reply without a score") for score in scores]

    def _waiting(self, docket: Docket, journal: Journal) -> dict[str, Case]:
        keyed = {self._key(case): case for case in docket.cases}
        return {key: case for key, case in keyed.items() if key not in journal}

    def _request(self, case: Case) -> dict[str, Any]:
        request = {"model": self.model, "messages": messages(case), "temperature": 0, "max_tokens": MAX_REPLY_TOKENS}
        return {name: value for name, value in (request | self.body).items() if value is not None}

    def _key(self, case: Case) -> str:
        content = [RUBRIC, self.model, self.body, case.question, case.answer, case.truth]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
