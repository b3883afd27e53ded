"""One chat completion over HTTP: paced, with a timeout, tried again after failures that may pass.

Errors name the address and the status, never what was sent, what came back, or the key.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from unsee.core.errors import JudgeError

LONGEST_WAIT_SECONDS = 300.0
_PASSING = frozenset({408, 409, 425, 429})
_HINTS = {
    400: "the model may not take these parameters; see --body",
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY",
    404: "check the base URL and the model's name",
}


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


class Endpoint:
    """An OpenAI-compatible server.

    Args:
        base_url: the address before "/chat/completions".
        key: sent as bearer token; "" for none.
        pacer: lets every attempt through.
        timeout_seconds: for connecting and for each silence of the server.
        attempts: tries of one call.
        backoff_seconds: the wait before the second attempt; it doubles with each, unless the server names another.
    """

    def __init__(
        self, base_url: str, key: str, pacer: Pacer, *, timeout_seconds: float, attempts: int, backoff_seconds: float
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._opener = build_opener(_NoRedirect)
        self._pacer = pacer
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._backoff_seconds = backoff_seconds

    def complete(self, body: Mapping[str, Any]) -> str:
        """Return the text of the reply; "" if the server gives a reply without text.

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

    def _post(self, body: Mapping[str, Any]) -> str:
        request = Request(self._url, data=json.dumps(body).encode(), headers=self._headers)
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                reply = json.loads(response.read())
            text = reply["choices"][0]["message"]["content"]
        except HTTPError as error:
            with error:
                raise self._failure(error) from None
        except (OSError, HTTPException) as error:
            raise _Passing(str(getattr(error, "reason", error)) or type(error).__name__) from None
        except (ValueError, LookupError, TypeError):
            raise _Passing("a reply that is no chat completion") from None
        return text if isinstance(text, str) else ""

    def _failure(self, error: HTTPError) -> Exception:
        what = f"HTTP {error.code}"
        if error.code in _PASSING or error.code >= 500:
            wait = _seconds(error.headers.get("Retry-After", ""))
            if wait is None or wait <= LONGEST_WAIT_SECONDS:
                return _Passing(what, wait)
            return JudgeError(f"{self._url}: {what}: asks to wait {wait:.0f} s; run the same command again then")
        return JudgeError(f"{self._url}: refused with {what}; {_HINTS.get(error.code, 'check the base URL')}")


def _seconds(text: str) -> float | None:
    """Return the seconds of a Retry-After header, which is a number of seconds or a date."""
    if text.strip().isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo else None
