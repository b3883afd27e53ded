"""The page of the playground and its server, for this machine alone.

The server listens on the loopback address. A token is drawn at the start and stands in the page's address; every other
request has to carry it, and has to name this machine as its host. So neither another user nor a page of the web in the
same browser can ask. Nothing is written to disk, and the page loads nothing from elsewhere.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from unsee.core.errors import ConfigError, UnseeError
from unsee.data.images import decode, preview
from unsee.play.playground import Ask, Playground
from unsee.play.topics import Topic
from unsee.report.page import render

HOST = "127.0.0.1"
_POLICY = (
    "style-src 'unsafe-inline'; img-src data: blob:; script-src 'nonce-{}'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
_FRAMES = "frame-ancestors 'none'"
"""A part of the policy that only a header can hold."""
_LARGEST_BYTES = 32 * 2**20


def make_app(playground: Playground, token: str) -> Starlette:
    """Return the server's application.

    Args:
        playground: the models and what to ask about.
        token: has to be in the page's address (`?token=`) and in the header `X-Token` of every other request.
    """

    def page(request: Request) -> Response:
        if not secrets.compare_digest(request.query_params.get("token", ""), token):
            return PlainTextResponse("unsee play: open the address that the command printed, with its token", 403)
        nonce = secrets.token_urlsafe(16)
        policy = _POLICY.format(nonce)
        content = render(
            "play.html", title="unsee playground", allowed=policy, nonce=nonce, token=token, state=_state(playground),
            redacted=playground.redact, kind=playground.kind,
        )  # fmt: skip
        return HTMLResponse(content, headers={"Content-Security-Policy": f"default-src 'none'; {policy}; {_FRAMES}"})

    async def topic(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(playground.topics):
            return JSONResponse({"error": "play: the data hold no such person or document"}, 404)
        return JSONResponse(_described(playground.topics[number], playground.redact))

    async def ask(request: Request) -> Response:
        try:
            wanted = Ask.model_validate_json(await request.body())
            said = await run_in_threadpool(playground.ask, wanted)
        except ValidationError:
            return JSONResponse({"error": "play: this is no question that the page asks; load it again"}, 400)
        except UnseeError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(said.model_dump())

    def guarded(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def check(request: Request) -> Response:
            if not secrets.compare_digest(request.headers.get("x-token", ""), token):
                return JSONResponse(
                    {"error": "play: the token is missing or of another start; load the page again"}, 403
                )
            if int(request.headers.get("content-length") or 0) > _LARGEST_BYTES:
                return JSONResponse({"error": "play: the picture has more than 24 MB; choose a smaller one"}, 413)
            return await handle(request)

        return check

    return Starlette(
        routes=[
            Route("/", page),
            Route("/topics/{number:int}", guarded(topic)),
            Route("/ask", guarded(ask), methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def take_port(port: int) -> socket:
    """Return a socket that listens to this machine alone; 0 takes a free port.

    Raises:
        ConfigError: the port is taken or not allowed.
    """
    taken = socket()
    try:
        taken.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        taken.bind((HOST, port))
    except OSError as error:
        taken.close()
        raise ConfigError(f"--port {port}: {error.strerror}; choose another port, or leave it out") from error
    return taken


def serve(playground: Playground, port: socket, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        playground: the models and what to ask about.
        port: from `take_port`.
        ready: is called with the page's address.
    """
    token = secrets.token_urlsafe(16)
    config = uvicorn.Config(make_app(playground, token), log_level="error", access_log=False)
    ready(f"http://{HOST}:{port.getsockname()[1]}/?token={token}")
    uvicorn.Server(config).run(sockets=[port])


def _state(playground: Playground) -> dict[str, Any]:
    """Return what the page knows from the start."""
    noun = "person" if playground.kind == "people" else "document"
    topics = [
        {"group": one.group, "secret": one.secret, "name": f"{noun} {number + 1}" if playground.redact else one.name}
        for number, one in enumerate(playground.topics)
    ]
    ways = [way._asdict() for way in playground.ways]
    return {"models": playground.models, "topics": topics, "ways": ways}


def _described(topic: Topic, redact: bool) -> dict[str, Any]:
    """Return a topic as the page shows it: its picture, all questions, and each picture once."""
    numbers: dict[bytes, int] = {}

    def numbered(picture: bytes | None) -> int | None:
        return numbers.setdefault(picture, len(numbers)) if picture and not redact else None

    asked = [
        {
            "group": one.group, "kind": one.kind, "with_picture": one.picture is not None,
            "choice": one.question.task == "classification",
            "text": "" if redact else one.question.question,
            "options": [] if redact else list(one.question.options),
            "truth": "" if redact else one.question.answer,
            "picture": numbered(one.picture),
        }
        for one in topic.asked
    ]  # fmt: skip
    return {"picture": numbered(topic.picture), "asked": asked, "pictures": [_uri(picture) for picture in numbers]}


def _uri(picture: bytes) -> str:
    """Return an encoded picture as a data URI, small enough to be shown."""
    return f"data:image/png;base64,{base64.b64encode(preview(decode(picture, 'play: a picture'))).decode()}"
