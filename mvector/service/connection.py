"""Connections: what never becomes a request is closed."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

_LOOK_EVERY_S = 30.0


class PatientProtocol(H11Protocol):
    """uvicorn's, which waits for the headers of a request for ever; this one for half a minute.

    Behind another request of the same connection it may be a whole one.
    What comes behind the headers is bounded by :class:`mvector.service.guard.Guard`, and what is
    idle between two requests by uvicorn.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._look(before=self)

    def _look(self, before: object) -> None:
        """Close what has had no request since ``before``, the one of the last look."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # or it is a stream now
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and before is self.cycle:
            self.transport.close()
            return
        self.loop.call_later(_LOOK_EVERY_S, self._look, self.cycle)
