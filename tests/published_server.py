"""A server on loopback that answers as servers do on good and on bad days."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Loopback:
    """Answers by path; a list is used up one by one, and its last answer stays."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range

    def on(self, path: str, *answers: Answer) -> str:
        """Answer a path so; gives its address."""
        self.answers[path] = [*answers]
        return self.url + path


def download_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads ask loopback itself, and again without a pause."""
    monkeypatch.setattr("mvector.published.downloading._PAUSE_S", 0.0)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Runs while the block does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Range")))
            known = server.answers.get(self.path, [status(404)])
            (known.pop(0) if len(known) > 1 else known[0])(self)

        def log_message(self, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = Loopback(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()


def content(
    data: bytes,
    *,
    tag: str | None = '"1"',
    ranges: bool = True,
    cut_at: int | None = None,
    length: int | None = None,
    kind: str = "application/octet-stream",
    lies_about_start: bool = False,
    knows_length: bool = True,
) -> Answer:
    """The bytes of a file, or what is asked for of them.

    ``cut_at`` ends the connection before this byte; ``length`` is told in place of the true one.
    """

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range") if ranges else None
        if asked and handler.headers.get("If-Range", tag) != tag:
            asked = None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and start >= len(data):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.end_headers()
            return
        handler.send_response(206 if asked else 200)
        if tag is not None:
            handler.send_header("ETag", tag)
        handler.send_header("Content-Type", kind)
        if asked:
            told = 0 if lies_about_start else start
            handler.send_header("Content-Range", f"bytes {told}-{len(data) - 1}/{len(data)}")
        if knows_length:
            handler.send_header("Content-Length", str(length or len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:cut_at])

    return answer


def status(code: int, **headers: str) -> Answer:
    """No file, but this."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def silence(duration_s: float) -> Answer:
    """Nothing, for so long."""
    return lambda handler: time.sleep(duration_s)
