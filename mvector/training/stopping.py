"""Stopping a run on request without losing what it has done."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mvector.errors import MVectorError

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(MVectorError):  # noqa: N818 - asked for, and no error
    """The run was asked to stop, and has saved everything that it needs to go on.

    Attributes:
        signal_number: what asked it to.
    """

    code = "training-stopped"

    def __init__(self, message: str, signal_number: int = 0) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """While open, the first SIGINT or SIGTERM is noted, and the second one ends the process.

    Signals reach the main thread alone; elsewhere nothing is changed.

    Attributes:
        signal_number: the signal that came, 0 until then.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._previous: dict[int, object] = {}
        self._leave: Callable[[], object] | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._handle_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()

    @contextmanager
    def stopping_at_once(self, leave: Callable[[], object]) -> Iterator[None]:
        """Inside, a signal calls ``leave`` as soon as it comes: nothing is there to be lost."""
        self._leave = leave
        try:
            yield
        finally:
            self._leave = None

    def __bool__(self) -> bool:
        return self.signal_number != 0

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number:
            raise KeyboardInterrupt
        self.signal_number = number
        if self._leave is not None:
            self._leave()
        logger.warning(
            "%s: the run stops after this step and saves; once more stops it at once.",
            signal.Signals(number).name,
        )
