"""Who asks, and whether from this machine."""

from __future__ import annotations

import ipaddress
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


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is that of this machine alone."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:  # no address: other names may have been made to lead here
        return name == "localhost"
