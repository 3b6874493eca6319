"""Who did what, when, and with which score: a table that is only ever appended to."""

from __future__ import annotations

import getpass
import os
import platform
import sqlite3
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from mvector.speakers.people import utc_now


@dataclass(frozen=True)
class AuditEntry:
    """One thing that was done to the library, or asked of it.

    Attributes:
        at: ISO 8601, UTC.
        who: user, host and process.
        action: such as ``register``, ``remove`` or ``identify``.
        name: of the person it was about, if any.
        score: of a recognition.
    """

    at: str
    who: str
    action: str
    name: str | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def append(
    database: sqlite3.Connection, action: str, name: str | None, score: float | None
) -> None:
    """Add an entry, inside the transaction of what it tells of."""
    database.execute(
        "INSERT INTO audit (at, who, action, name, score) VALUES (?, ?, ?, ?, ?)",
        (utc_now(), f"{_user_and_host()}:{os.getpid()}", action, name, score),
    )


def latest(database: sqlite3.Connection, limit: int) -> list[AuditEntry]:
    """The last entries, the newest first."""
    query = "SELECT at, who, action, name, score FROM audit ORDER BY id DESC LIMIT ?"
    return [AuditEntry(*row) for row in database.execute(query, (limit,))]


@cache
def _user_and_host() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user number without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{platform.node() or 'localhost'}"
