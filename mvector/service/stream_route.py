"""The WebSocket: sound in as it is spoken, and who is speaking out."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from mvector.service.caller import Caller
from mvector.service.errors import RequestError, overloaded
from mvector.service.problems import failed, invalid
from mvector.service.schemas import StreamStart
from mvector.service.service import Service
from mvector.service.streaming import Listener, Message, tells_turns

_FAILURES_FROM = 4000  # a failure closes with this and the status that a request would get
_MOST_REASON = 123  # bytes, by the protocol
_MOST_MESSAGE = 1 << 20  # bytes
_GOODBYE_S = 5.0
_PACE = 4.0  # times as fast as it is spoken, behind the first seconds
_AT_ONCE_S = 10.0
_ALL, _BEGUN = "all", "begun by"
_SEVERAL = "within"  # the one field of the query that may come more than once


def build_router(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()
    counts: Counter[str] = Counter()

    @router.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        """16-bit mono PCM in, and running answers out."""
        await socket.accept()
        try:
            connection = _Connection(service, socket, counts)
            asked = await connection.begin()
            caller = await connection.admitted(asked.key)
            with (
                _one_more(counts, _ALL, service.settings.max_streams),
                _one_more(counts, caller.who, service.settings.max_streams_each),
                service.metrics.streams.track_inprogress(),
            ):
                await connection.serve(caller, asked)
            await socket.close()
        except WebSocketDisconnect:
            return
        except Exception as error:
            await _close_for(socket, error)

    return router


@contextmanager
def _one_more(counts: Counter[str], who: str, most: int) -> Iterator[None]:
    if counts[who] >= most:
        raise overloaded()
    counts[who] += 1
    try:
        yield
    finally:
        counts[who] -= 1
        if not counts[who]:
            del counts[who]


class _Connection:
    """One client that streams."""

    def __init__(self, service: Service, socket: WebSocket, counts: Counter[str]) -> None:
        self._service, self._socket, self._settings = service, socket, service.settings
        self._counts = counts
        self._address = socket.client.host if socket.client else "unknown"

    async def begin(self) -> StreamStart:
        """What is asked: by the query, or else by a first message, as pages give keys.

        Raises:
            RequestError: it cannot be understood.
        """
        query: dict[str, Any] = dict(self._socket.query_params)
        if _SEVERAL in query:
            query[_SEVERAL] = self._socket.query_params.getlist(_SEVERAL)
        if "key" in query:
            raise RequestError(
                "A key does not belong into an address; send it in the first message.",
                code="request-invalid",
            )
        header = self._socket.headers.get("authorization", "")
        token = header.partition(" ")[2] if header else None
        if "rate" in query and (self._service.keys is None or token is not None):
            return _parsed({**query, "key": token})
        # Who has shown no key yet takes none of the streams, and keeps nobody of elsewhere waiting.
        begun = f"{_BEGUN} {self._address}"
        with _one_more(self._counts, begun, self._settings.max_streams):
            message = await self._receive()
        if not message.get("text"):
            raise RequestError(
                'Begin with JSON that has rate, and a key where one is needed: {"rate": 16000}.',
                code="request-invalid",
            )
        try:
            first = json.loads(message["text"])
        except (ValueError, RecursionError) as error:
            raise RequestError("The first message is no JSON.", code="request-invalid") from error
        if not isinstance(first, dict):
            raise RequestError("The first message is no JSON object.", code="request-invalid")
        return _parsed({"key": token, **query, **first})

    async def admitted(self, token: str | None) -> Caller:
        """Who asks, if they may."""
        request_id = self._socket.scope["request_id"]
        return await self._service.admit(token, self._address, request_id, "read")

    async def serve(self, caller: Caller, asked: StreamStart) -> None:
        """Answer until the client ends. A verification without success counts as a failed try."""
        purpose = asked.purpose or (self._service.login_purpose if asked.person else "default")
        listener = Listener(self._service.predictor, asked, purpose)
        if asked.person is None:
            await self._listen(caller, asked, listener)
            return
        async with self._service.one_try(asked.person, lambda: listener.same):
            await self._listen(caller, asked, listener)

    async def _listen(self, caller: Caller, asked: StreamStart, listener: Listener) -> None:
        model = self._service.library.fingerprint
        await self._send([{"type": "ready", "model": model, "turns": tells_turns(asked)}])
        started, heard_s = time.monotonic(), 0.0
        while True:
            message = await self._receive()
            if (sound := message.get("bytes")) is None:
                _require_end(message.get("text") or "")
                break
            heard_s += len(sound) / 2 / asked.rate
            if heard_s > self._settings.max_stream_s:
                raise RequestError(
                    f"A stream has {self._settings.max_stream_s:g} s at most; begin another one.",
                    code="stream-too-long",
                    status=413,
                )
            ahead_s = (heard_s - _AT_ONCE_S) / _PACE - (time.monotonic() - started)
            if ahead_s > 0:  # meanwhile the client has to wait
                await asyncio.sleep(ahead_s)
            await self._send(await self._service.compute(caller, lambda: listener.hear(sound)))
        await self._send(await self._service.compute(caller, listener.end))
        await self._send([{"type": "end", "time_s": round(heard_s, 2)}])

    async def _receive(self) -> Mapping[str, Any]:
        idle_s = self._settings.stream_idle_s
        try:
            message = await asyncio.wait_for(self._socket.receive(), idle_s)
        except asyncio.TimeoutError as error:
            raise RequestError(
                f"Nothing came for {idle_s:g} s.", code="stream-idle", status=408
            ) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        if len(message.get("bytes") or message.get("text") or "") > _MOST_MESSAGE:
            raise RequestError(
                f"A message has more than {_MOST_MESSAGE:,} bytes; send shorter ones.",
                code="body-too-large",
                status=413,
            )
        return message

    async def _send(self, messages: Sequence[Message]) -> None:
        """Send messages, to a client that reads them."""
        for message in messages:
            try:
                await asyncio.wait_for(
                    self._socket.send_json(message), self._settings.stream_idle_s
                )
            except asyncio.TimeoutError as error:
                raise RequestError(
                    "The answers are not read.", code="stream-idle", status=408
                ) from error


def _parsed(values: dict[str, Any]) -> StreamStart:
    try:
        return StreamStart.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from error


def _require_end(text: str) -> None:
    try:
        is_end = json.loads(text) == {"type": "end"}
    except (ValueError, RecursionError):
        is_end = False
    if not is_end:
        raise RequestError(
            'Send sound as binary messages, and {"type": "end"} when there is no more.',
            code="request-invalid",
        )


async def _close_for(socket: WebSocket, error: Exception) -> None:
    """Tell what went wrong, and close with its code and sentence."""
    status, content, _ = failed(error, socket.scope["request_id"])
    reason = content["detail"].encode()[:_MOST_REASON].decode(errors="ignore")

    async def goodbye() -> None:
        await socket.send_json({**content, "type": "problem"})
        await socket.close(_FAILURES_FROM + status, reason)

    try:
        await asyncio.wait_for(goodbye(), _GOODBYE_S)
    except (asyncio.TimeoutError, RuntimeError, WebSocketDisconnect):
        return  # nobody is there any more
