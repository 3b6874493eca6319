"""What every request passes before anything of it is looked at."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvector.service.caller import is_loopback
from mvector.service.errors import RequestError, overloaded
from mvector.service.metrics import Metrics
from mvector.service.problems import respond
from mvector.service.settings import ServiceSettings

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
#: The path that takes recordings, which go to a disk.
RECORDINGS = "/v1/diarize"
_MOST_HEADERS = 100
_BODIES_HELD = 16  # as many of the largest size may be in memory at once
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Guard:
    """Gives each request an id, holds its body to bounds of size and time, and counts it.

    Without keys, nobody but programs of this machine may ask: neither pages of other origins that
    a browser shows here, nor those whose name was made to lead here.
    """

    def __init__(
        self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics, *, is_local: bool
    ) -> None:
        self.app, self._settings, self._metrics = app, settings, metrics
        self._is_local = is_local
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope["request_id"] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        if scope["type"] == "websocket":
            await self._pass_stream(scope, receive, send, headers)
            return
        started, status = time.perf_counter(), 500
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        bounds = _bounds_of(scope, headers, self._settings)
        body = _Body(self, receive, bounds, is_read=not has_body)
        has_answered = False

        async def answer(message: Message) -> None:
            nonlocal status, has_answered
            if message["type"] == "http.response.start":
                status, has_answered = message["status"], True
                own = MutableHeaders(scope=message)
                own["X-Request-ID"] = scope["request_id"]
                for name, value in _SECURITY.items():
                    own.setdefault(name, value)
                if not body.is_read:  # what is not read cannot be told from the next request
                    own["Connection"] = "close"
            await send(message)

        try:
            self._check(headers, bounds)
            await self.app(scope, body.receive, answer)
        except Exception as error:
            if not has_answered:
                await respond(Request(scope), error)(scope, receive, answer)
        finally:
            self._held -= body.held
            self._metrics.answered(scope, status, time.perf_counter() - started)

    async def _pass_stream(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers
    ) -> None:
        """A stream, which any page could open, unless it is refused here."""
        if self._is_local:
            try:
                _check_local(headers)
            except RequestError:
                await send({"type": "websocket.close", "code": 1008})  # answered with 403
                return
        await self.app(scope, receive, send)

    def _check(self, headers: Headers, bounds: _Bounds) -> None:
        """Refuse what can be refused by its headers."""
        if len(headers) > _MOST_HEADERS:
            raise RequestError(
                f"The request has {len(headers):,} header lines; send {_MOST_HEADERS} at most.",
                code="request-invalid",
                status=431,
            )
        if self._is_local:
            _check_local(headers)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > bounds.size:
            raise _too_large(bounds)

    def hold(self, size: int) -> None:
        """Count what is in memory of bodies.

        Raises:
            RequestError: it is too much.
        """
        if self._held + size > _BODIES_HELD * self._settings.max_body_bytes:
            raise overloaded()
        self._held += size


@dataclass(frozen=True)
class _Bounds:
    """Of the body of a request: bytes, seconds, and whether memory holds it."""

    size: int
    seconds: float
    in_memory: bool


def _bounds_of(scope: Scope, headers: Headers, settings: ServiceSettings) -> _Bounds:
    is_json = headers.get("content-type", "").lower().startswith("application/json")
    if scope["path"] == RECORDINGS and not is_json:
        return _Bounds(settings.max_recording_bytes, settings.max_recording_upload_s, False)
    return _Bounds(settings.max_body_bytes, settings.max_upload_s, True)


class _Body:
    """The body of a request, as it arrives."""

    def __init__(self, guard: Guard, receive: Receive, bounds: _Bounds, *, is_read: bool) -> None:
        self._guard, self._receive, self._bounds = guard, receive, bounds
        self._until = time.monotonic() + bounds.seconds
        self._size, self.held, self.is_read = 0, 0, is_read

    async def receive(self) -> MutableMapping[str, Any]:
        if self.is_read:  # what comes now is that the client leaves
            return await self._receive()
        try:
            left = max(0.0, self._until - time.monotonic())
            message = await asyncio.wait_for(self._receive(), left)
        except asyncio.TimeoutError as error:
            raise RequestError(
                f"The request did not arrive within {self._bounds.seconds:g} s.",
                code="upload-too-slow",
                status=408,
            ) from error
        more = len(message.get("body", b""))
        self._size += more
        if self._size > self._bounds.size:
            raise _too_large(self._bounds)
        if self._bounds.in_memory:
            self._guard.hold(more)
            self.held += more
        self.is_read = not message.get("more_body", False)
        return message


def _too_large(bounds: _Bounds) -> RequestError:
    most = bounds.size / (1 << 20)
    return RequestError(
        f"The request is larger than {most:g} MiB; send less, or shorter clips.",
        code="body-too-large",
        status=413,
    )


def _check_local(headers: Headers) -> None:
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        is_local = is_loopback(urlsplit(f"//{host}").hostname or "")
        is_own = origin is None or urlsplit(origin).netloc == host
    except ValueError:  # such as "[::1"
        is_local = is_own = False
    if not (is_local and is_own):
        raise RequestError(
            "Without keys this service answers programs of its own machine only, by the name "
            "localhost or 127.0.0.1.",
            code="not-local",
            status=403,
        )
