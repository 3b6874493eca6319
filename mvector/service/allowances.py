"""How often something may happen: requests of a key, failed verifications of a person.

Kept in memory, of one process, and forgotten when it ends.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

_MOST_NAMES = 100_000  # remembered at once; the one not heard of for longest is forgotten


class Allowance:
    """So many events of a name within a window of time.

    Args:
        most: events within the window; 0: any number.
        window_s: in seconds.
        clock: seconds that never go back.
    """

    def __init__(
        self, most: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._window_s, self._clock = most, window_s, clock
        self._events: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Note an event if it is allowed, and else give the seconds until it is."""
        with self._lock:
            wait_s = self._wait_s(name)
            if not wait_s and self._most:
                self._events.setdefault(name, deque()).append(self._clock())
                self._events.move_to_end(name)
                while len(self._events) > _MOST_NAMES:
                    self._events.popitem(last=False)
            return wait_s

    def give_back(self, name: str) -> None:
        """Take the last event of a name back."""
        with self._lock:
            if events := self._events.get(name):
                events.pop()

    def forget(self, name: str) -> None:
        """Let all events of a name be allowed again."""
        with self._lock:
            self._events.pop(name, None)

    def _wait_s(self, name: str) -> float:
        events = self._events.get(name)
        if not events:
            return 0.0
        now = self._clock()
        while events and events[0] <= now - self._window_s:
            events.popleft()
        if len(events) < self._most:
            return 0.0
        return events[0] + self._window_s - now
