"""Requests that are sent again after a lost answer, and done once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mvector.service.errors import RequestError

_T = TypeVar("_T")
_KEPT_S = 24 * 3600.0
_MOST = 10_000


class Once:
    """Answers by the key that a client gave, kept for a day in memory; failures are not kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], tuple[float, str, asyncio.Future[Any]]]
        self._known = OrderedDict()

    async def do(self, key: tuple[str, ...], digest: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """What ``work`` gives, or gave the first time.

        Args:
            key: who asks, and the client's key.
            digest: of what is asked.
            work: is done where the key is new. A client that leaves does not stop it.

        Raises:
            RequestError: the key came with something else before.
        """
        self._forget()
        known = self._known.get(key)
        if known is None:
            task = asyncio.ensure_future(work())
            self._known[key] = time.monotonic(), digest, task
            task.add_done_callback(lambda done: self._drop_failure(key, done))
            return await asyncio.shield(task)
        _, before, future = known
        if before != digest:
            raise RequestError(
                "This Idempotency-Key came with other content before; give each request its own.",
                code="idempotency-key-reused",
                status=422,
            )
        answer: _T = await asyncio.shield(future)
        return answer

    def _drop_failure(self, key: tuple[str, ...], done: asyncio.Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._known.pop(key, None)

    def _forget(self) -> None:
        now = time.monotonic()
        while self._known:
            at, _, future = next(iter(self._known.values()))
            if not future.done() or (len(self._known) <= _MOST and at > now - _KEPT_S):
                return
            self._known.popitem(last=False)
