"""Asks a model at an OpenAI-compatible endpoint many short questions, each once, after an estimate of the costs."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from unsee.core.errors import JudgeError, UnseeError
from unsee.core.journal import Journal
from unsee.core.progress import Progress
from unsee.judge.base import Costs
from unsee.judge.endpoint import Endpoint, Pacer, Reply, Stopped

MAX_REPLY_TOKENS = 16
UNREAD_REPLIES = 5
"""If so many of the first replies cannot be read and none can, the rest is not asked for."""
_BYTES_PER_TOKEN = 4  # of English text; the estimate says "about"

Chat = list[dict[str, str]]


def _from_environment(name: str, default: str = "") -> Any:
    return field(default_factory=lambda: os.environ.get(name) or default)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A model at an endpoint, and the pace of asking it. Replies are kept in a journal under a key of their content.

    Attributes:
        model: its name at the endpoint; by default `UNSEE_JUDGE_MODEL`.
        base_url: the endpoint; by default `OPENAI_BASE_URL`, else OpenAI's own.
        key: by default `OPENAI_API_KEY`; "" if the endpoint needs none.
        concurrency: the largest number of requests at once.
        requests_per_minute: the largest number of requests started, retries included.
        timeout_seconds: for one reply, from connecting to its last byte.
        attempts: tries of one request.
        backoff_seconds: the wait before the second attempt; it doubles with each.
        price_in: per million tokens sent.
        price_out: per million tokens received.
        body: merged into every request; a null removes a parameter.
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
        address = urlsplit(self.base_url)
        if not self.model:
            raise ValueError("no model named; give --model or set UNSEE_JUDGE_MODEL")
        if address.scheme not in ("http", "https") or not address.hostname or address.username or address.query:
            raise ValueError("the base URL must be a plain http or https address, such as http://localhost:8000/v1")
        if not self.key.isascii() or any(not c.isprintable() or c.isspace() for c in self.key):
            raise ValueError("the key holds spaces or signs no key has; check OPENAI_API_KEY")
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("one price without the other; give both --price-in and --price-out")

    def journal_key(self, *content: str) -> str:
        """Return the key of one reply in a journal: a hash of model, parameters and content."""
        return hashlib.sha256(json.dumps([self.model, self.body, *content], sort_keys=True).encode()).hexdigest()

    def price_of(self, chats: Mapping[str, Chat], journal: Journal, content: str) -> Costs:
        """Return the costs of the chats that the journal does not hold; `content` says in words what they send."""
        waiting = [chat for key, chat in chats.items() if journal.get(key) is None]
        sent = sum(len(json.dumps(self._request(chat)).encode()) for chat in waiting)
        tokens_in, tokens_out = -(-sent // _BYTES_PER_TOKEN), self._most_tokens * len(waiting)
        price = None
        if self.price_in is not None and self.price_out is not None:
            price = (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
        known = len(chats) - len(waiting)
        return Costs(urlsplit(self.base_url).netloc, content, len(waiting), known, tokens_in, tokens_out, price)

    def ask(
        self, chats: Mapping[str, Chat], read: Callable[[str], object], journal: Journal, progress: Progress
    ) -> None:
        """Ask the chats that the journal does not hold, and add each reply to it.

        After an error or an interrupt the replies to requests already sent are still added: they are paid for. A reply
        that cannot be read is not added, so that it is asked for again the next time.

        Args:
            chats: by their keys.
            read: turns the text of a reply into JSON for the journal; None if it cannot be read.
            journal: the journal.
            progress: where to show it.

        Raises:
            JudgeError: the endpoint refuses or cannot be reached, or none of its first replies can be read.
        """
        stop = threading.Event()
        endpoint = Endpoint(
            self.base_url, self.key, Pacer(60 / self.requests_per_minute, stop),
            timeout_seconds=self.timeout_seconds, attempts=self.attempts, backoff_seconds=self.backoff_seconds,
        )  # fmt: skip
        waiting = [key for key in chats if journal.get(key) is None]
        is_read = len(waiting) < len(chats)
        unread: list[Reply] = []

        def put(key: str) -> None:
            nonlocal is_read
            try:
                reply = endpoint.complete(self._request(chats[key]))
                if (value := read(reply.text)) is not None:
                    is_read = True
                    journal.add(key, value)
                    return
                unread.append(reply)
                if not is_read and len(unread) >= min(UNREAD_REPLIES, len(waiting)):
                    raise self._is_unread(unread[:UNREAD_REPLIES])  # other threads may have added more
            except UnseeError:
                stop.set()
                raise

        with progress.task("judge", len(waiting)) as advance, ThreadPoolExecutor(self.concurrency) as pool:
            try:
                for done in as_completed([pool.submit(put, key) for key in waiting]):
                    with suppress(Stopped):  # the failure that stopped the others is raised by its own call
                        done.result()
                        advance(1)
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _is_unread(self, replies: Sequence[Reply]) -> JudgeError:
        """Return the error that none of the first replies can be read, with what came back."""
        advice = "try another model"
        if any(reply.cut for reply in replies):
            advice = (
                f"it was cut off after at most {self._most_tokens} tokens; if the model thinks first, give it room, "
                """such as --body '{"max_tokens": 4096}'"""
            )
        return JudgeError(
            f"{self.model}: none of the first {len(replies)} replies can be read, such as {replies[0].excerpt}; "
            f"{advice}; an earlier judgement stays"
        )

    @property
    def _most_tokens(self) -> int:
        """The largest number of tokens in one reply; that of the default if `body` gives no limit."""
        limits = [self.body.get(name) for name in ("max_completion_tokens", "max_tokens")]
        return next((limit for limit in limits if isinstance(limit, int)), MAX_REPLY_TOKENS)

    def _request(self, chat: Chat) -> dict[str, Any]:
        request = {"model": self.model, "messages": chat, "temperature": 0, "max_tokens": MAX_REPLY_TOKENS}
        return {name: value for name, value in (request | self.body).items() if value is not None}
