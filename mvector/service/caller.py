"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        who: the key, or the address where there are no keys.
        request_id: of this request.
    """

    who: str
    request_id: str

    def __str__(self) -> str:
        return f"{self.who} request {self.request_id}"
