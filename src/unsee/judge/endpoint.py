"""One chat completion over HTTP: paced, limited in time and size, tried again after failures that may pass.

Errors name the address and the status, never what was sent, the body of a failure, or the key.
"""

from __future__ import annotations

import json
import math
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from unsee.core.errors import JudgeError

LONGEST_WAIT_SECONDS = 300.0
LARGEST_REPLY_BYTES = 4 * 2**20
_EXCERPT_CHARACTERS = 80
_PASSING = frozenset({408, 409, 425, 429})
_HINTS = {
    400: "the model may not take these parameters; see --body",
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY",
    404: "check the base URL and the model's name",
}


@dataclass(frozen=True)
class Reply:
    """One chat completion.

    Attributes:
        text: what the model said, without thoughts that the server gives apart; "" if it said nothing.
        cut: True if it reached the largest number of tokens.
    """

    text: str
    cut: bool

    @property
    def excerpt(self) -> str:
        """The beginning of the text, quoted, on one line."""
        text = " ".join(self.text.split())
        if not text:
            return "an empty one"
        return repr(text[:_EXCERPT_CHARACTERS] + ("..." if len(text) > _EXCERPT_CHARACTERS else ""))


class Stopped(Exception):
    """The work was stopped while this call waited."""


class Pacer:
    """Lets calls through one by one, with a least time between them.

    Args:
        interval_seconds: the least time between two calls.
        stop: is set to stop everything.
    """

    def __init__(self, interval_seconds: float, stop: threading.Event) -> None:
        self._interval = interval_seconds
        self._stop = stop
        self._lock = threading.Lock()
        self._free = time.monotonic()

    def wait(self) -> None:
        """Wait for the next turn.

        Raises:
            Stopped: the work was stopped.
        """
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._free)
            self._free = turn + self._interval
        self.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let no call through for some time."""
        with self._lock:
            self._free = max(self._free, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait without delaying others.

        Raises:
            Stopped: the work was stopped.
        """
        if self._stop.wait(seconds):
            raise Stopped


class _Passing(Exception):
    """A failure that may pass."""

    def __init__(self, what: str, wait_seconds: float | None = None) -> None:
        super().__init__(what)
        self.wait_seconds = wait_seconds


class _NoRedirect(HTTPRedirectHandler):
    """A handler that follows no redirect, so that the key goes to no other server."""

    def redirect_request(self, *_: object) -> None:
        return None


class _Sockets(threading.local):
    """The sockets that a thread connected since it last began a request."""

    def __init__(self) -> None:
        self.open: list[socket.socket] = []


class _LimitedHTTP(HTTPHandler, HTTPSHandler):
    """A handler whose requests end at a deadline; the timeout of a socket limits each silence only."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets = _Sockets()

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Close the connections that the block makes if it is not done in time."""
        self._sockets.open = sockets = list[socket.socket]()
        timer = threading.Timer(seconds, _shut, [sockets])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def http_open(self, request: Request) -> HTTPResponse:
        """Open a request over HTTP."""
        return self.do_open(self._remembering(HTTPConnection), request)

    def https_open(self, request: Request) -> HTTPResponse:
        """Open a request over HTTPS."""
        return self.do_open(self._remembering(HTTPSConnection), request)

    def _remembering(self, kind: type[HTTPConnection]) -> Any:
        sockets = self._sockets

        class Remembering(kind):  # type: ignore[misc, valid-type]
            def connect(self) -> None:
                super().connect()
                sockets.open.append(self.sock)

        return Remembering


def _shut(sockets: list[socket.socket]) -> None:
    for one in sockets:
        with suppress(OSError):
            socket.socket.shutdown(one, socket.SHUT_RDWR)  # not that of TLS, which another thread may be reading


class Endpoint:
    """An OpenAI-compatible server.

    Args:
        base_url: the address before "/chat/completions".
        key: sent as bearer token; "" for none.
        pacer: lets every attempt through.
        timeout_seconds: for one reply, from connecting to its last byte.
        attempts: tries of one call.
        backoff_seconds: the wait before the second attempt; it doubles with each, unless the server names another.
    """

    def __init__(
        self, base_url: str, key: str, pacer: Pacer, *, timeout_seconds: float, attempts: int, backoff_seconds: float
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._http = _LimitedHTTP()
        self._opener = build_opener(_NoRedirect, self._http)
        self._pacer = pacer
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._backoff_seconds = backoff_seconds

    def complete(self, body: Mapping[str, Any]) -> Reply:
        """Return one reply.

        Raises:
            JudgeError: the server refuses, or every attempt failed.
            Stopped: the work was stopped.
        """
        for attempt in range(1, self._attempts + 1):
            self._pacer.wait()
            try:
                return self._post(body)
            except _Passing as failure:
                last = failure
            if attempt == self._attempts:
                break
            if last.wait_seconds is not None:
                self._pacer.hold(last.wait_seconds)
            else:
                longest = min(self._backoff_seconds * 2 ** (attempt - 1), LONGEST_WAIT_SECONDS)
                self._pacer.sleep(longest * random.uniform(0.5, 1))
        raise JudgeError(
            f"{self._url}: gave no usable reply in {self._attempts} attempts, the last: {last}; "
            "what is judged is kept: run the same command again"
        )

    def _post(self, body: Mapping[str, Any]) -> Reply:
        request = Request(self._url, data=json.dumps(body).encode(), headers=self._headers)
        started = time.monotonic()
        try:
            with (
                self._http.limited(self._timeout_seconds),
                self._opener.open(request, timeout=self._timeout_seconds) as response,
            ):
                content = response.read(LARGEST_REPLY_BYTES + 1)
        except HTTPError as error:
            with error:
                raise self._failure(error) from None
        except (OSError, HTTPException, ValueError) as error:
            if time.monotonic() - started >= self._timeout_seconds:
                raise _Passing(f"no whole reply in {self._timeout_seconds:g} s") from None
            raise _Passing(str(getattr(error, "reason", error)) or type(error).__name__) from None
        if time.monotonic() - started >= self._timeout_seconds:
            raise _Passing(f"no whole reply in {self._timeout_seconds:g} s")
        if len(content) > LARGEST_REPLY_BYTES:
            raise _Passing(f"a reply of more than {LARGEST_REPLY_BYTES:,} bytes")
        try:
            choice = json.loads(content)["choices"][0]
            return Reply(_text(choice["message"]["content"]), choice.get("finish_reason") == "length")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise _Passing("a reply that is no chat completion") from None

    def _failure(self, error: HTTPError) -> Exception:
        what = f"HTTP {error.code}"
        if error.code in _PASSING or error.code >= 500:
            wait = _seconds(error.headers.get("Retry-After", ""))
            if wait is None or wait <= LONGEST_WAIT_SECONDS:
                return _Passing(what, wait)
            return JudgeError(f"{self._url}: {what}: asks to wait {wait:.0f} s; run the same command again then")
        return JudgeError(f"{self._url}: refused with {what}; {_HINTS.get(error.code, 'check the base URL')}")


def _text(content: object) -> str:
    """Return the text of a message, which some servers give in parts; thoughts among them are left out."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, str | dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _seconds(text: str) -> float | None:
    """Return the seconds of a Retry-After header, which is a number of seconds or a date; None if it is neither."""
    with suppress(ValueError):
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        date = parsedate_to_datetime(text)
        return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
