"""Requests that are sent again after a lost answer, and done once."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from mvector.service.caller import Caller
from mvector.service.errors import RequestError, overloaded
from mvector.service.work_folder import WorkFolder

_Answer = TypeVar("_Answer", bound=BaseModel)
_KEPT_S = 24 * 3600.0
_MOST = 10_000
_LOOK_EVERY_S = 0.05
_PATIENCE_S = 60.0


class Once(Generic[_Answer]):
    """Answers by the key that a client gave, kept for a day; failures are not kept.

    They are those of all processes of a service.

    Args:
        shared: where they are kept.
        kind: of the answers.
    """

    def __init__(self, shared: WorkFolder, kind: type[_Answer]) -> None:
        self._shared, self._kind = shared, kind

    async def do(
        self,
        caller: Caller,
        key: str,
        digest: str,
        work: Callable[[list[Caller]], Awaitable[_Answer]],
    ) -> _Answer:
        """What ``work`` gives, or gave the first time.

        Args:
            caller: who asks.
            key: the client's.
            digest: of what is asked.
            work: is done where the key is new. It is given those who began it before, whose
                processes were killed meanwhile. A client that leaves does not stop it.

        Raises:
            RequestError: the key came with something else before, or the answer takes too long.
        """
        # as one task: what is begun, and written down as such, is also done
        return await asyncio.shield(
            asyncio.ensure_future(self._find_or_do(caller, key, digest, work))
        )

    async def _find_or_do(
        self,
        caller: Caller,
        key: str,
        digest: str,
        work: Callable[[list[Caller]], Awaitable[_Answer]],
    ) -> _Answer:
        until = time.monotonic() + _PATIENCE_S
        while True:
            known, before = await self._shared.aside(
                lambda: self._find_or_begin(caller, key, digest)
            )
            if known is not None:
                return known
            if before is not None:
                return await self._do(caller, key, work, before)
            if time.monotonic() > until:
                raise overloaded()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _do(
        self,
        caller: Caller,
        key: str,
        work: Callable[[list[Caller]], Awaitable[_Answer]],
        before: list[Caller],
    ) -> _Answer:
        place = caller.who, key
        try:
            answer = await work(before)
        except BaseException:
            await self._write("DELETE FROM answers WHERE who = ? AND key = ?", *place)
            raise
        await self._write(
            "UPDATE answers SET answer = ?, worker = NULL WHERE who = ? AND key = ?",
            answer.model_dump_json(),
            *place,
        )
        return answer

    async def _write(self, query: str, *values: str) -> None:
        def write() -> None:
            with self._shared.transaction() as database:
                database.execute(query, values)

        await self._shared.aside(write)

    def _find_or_begin(
        self, caller: Caller, key: str, digest: str
    ) -> tuple[_Answer | None, list[Caller] | None]:
        """The answer, or who began it before, if this process is to do it now; else neither."""
        with self._shared.transaction() as database:
            self._forget(database)
            row = database.execute(
                "SELECT digest, answer, worker, request_ids FROM answers WHERE who = ? AND key = ?",
                (caller.who, key),
            ).fetchone()
            if row is None:
                database.execute(
                    "INSERT INTO answers (who, key, digest, worker, request_ids, at) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (caller.who, key, digest, self._shared.worker, caller.request_id, time.time()),
                )
                return None, []
            known_digest, answer, worker, request_ids = row
            if known_digest != digest:
                raise RequestError(
                    "This Idempotency-Key came with other content before; give each request its "
                    "own.",
                    code="idempotency-key-reused",
                    status=422,
                )
            if answer is not None:
                return self._kind.model_validate_json(answer), None
            if self._shared.is_alive(worker):
                return None, None
            database.execute(
                "UPDATE answers SET worker = ?, request_ids = ? WHERE who = ? AND key = ?",
                (self._shared.worker, f"{request_ids} {caller.request_id}", caller.who, key),
            )
            return None, [Caller(caller.who, one) for one in request_ids.split()]

    def _forget(self, database: sqlite3.Connection) -> None:
        database.execute(
            "DELETE FROM answers WHERE answer IS NOT NULL AND (at < ? OR at < (SELECT at FROM "
            "answers ORDER BY at DESC LIMIT 1 OFFSET ?))",
            (time.time() - _KEPT_S, _MOST),
        )
