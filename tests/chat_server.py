"""A real HTTP server that plays a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Answers with what `reply(number, material)` says: (status, headers, body); a text is a chat completion.

    Attributes:
        requests: body and headers of every request, in order.
        asked: how often each (question, answer, reference) was asked.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.requests, self.asked = threading.Lock(), [], Counter()
        self.reply = lambda number, material: "SCORE: 7"
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        material = json.loads(body["messages"][-1]["content"])
        with self.server.lock:
            self.server.requests.append((self.path, body, dict(self.headers)))
            number = len(self.server.requests)
            self.server.asked[tuple(sorted(material.items()))] += 1
        reply = self.server.reply(number, material)
        if isinstance(reply, str):
            reply = 200, {}, json.dumps({"choices": [{"message": {"role": "assistant", "content": reply}}]})
        status, headers, text = reply
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())
        except BrokenPipeError:
            pass  # the client gave up waiting

    def log_message(self, *arguments):
        pass


@contextmanager
def running() -> Iterator[Server]:
    """A server that listens until the block ends."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
