"""How often something may happen: requests of a key, failed verifications of a person.

Counted for all processes of a service together, and forgotten when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mvector.service.work_folder import WorkFolder


class Allowance:
    """So many events of a name within a window of time.

    Args:
        shared: where they are counted.
        kind: what is counted.
        most: events within the window; 0: any number.
        window_s: in seconds.
        clock: seconds that never go back, and are the same for all processes.
    """

    def __init__(
        self,
        shared: WorkFolder,
        kind: str,
        most: int,
        window_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared, self._kind = shared, kind
        self._most, self._window_s, self._clock = most, window_s, clock

    def take(self, name: str) -> float:
        """Note an event if it is allowed, and else give the seconds until it is."""
        if not self._most:
            return 0.0
        now = self._clock()
        with self._shared.transaction() as database:
            database.execute(
                "DELETE FROM events WHERE kind = ? AND at <= ?", (self._kind, now - self._window_s)
            )
            count, oldest = database.execute(
                "SELECT count(*), min(at) FROM events WHERE kind = ? AND name = ?",
                (self._kind, name),
            ).fetchone()
            if count >= self._most:
                return float(oldest + self._window_s - now)
            database.execute(
                "INSERT INTO events (kind, name, at) VALUES (?, ?, ?)", (self._kind, name, now)
            )
        return 0.0

    def give_back(self, name: str) -> None:
        """Take the last event of a name back."""
        with self._shared.transaction() as database:
            database.execute(
                "DELETE FROM events WHERE rowid = (SELECT rowid FROM events WHERE kind = ? AND "
                "name = ? ORDER BY at DESC LIMIT 1)",
                (self._kind, name),
            )

    def forget(self, name: str) -> None:
        """Let all events of a name be allowed again."""
        with self._shared.transaction() as database:
            database.execute("DELETE FROM events WHERE kind = ? AND name = ?", (self._kind, name))
