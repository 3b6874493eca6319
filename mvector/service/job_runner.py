"""The thread that does jobs, one at a time, while requests have the right of way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from mvector.embedding.inference import Inference
from mvector.service.jobs import Claimed, JobGoneError, Jobs
from mvector.service.problems import failed
from mvector.speakers.audit import acting_for

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0  # for what another process left or was given
_STOP_S = 10.0

Work = Callable[[Claimed, Callable[[float | None], None]], dict[str, Any]]


class JobRunner:
    """Does one job after the other.

    Args:
        jobs: where they come from.
        work: does one, tells how far it is, and gives the result.
    """

    def __init__(self, jobs: Jobs, work: Work) -> None:
        self._jobs, self._work = jobs, work
        self._wake, self._is_closing = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is a job."""
        self._wake.set()

    def check(self) -> None:
        """End the work at hand where this process is to stop.

        Raises:
            JobGoneError: it is.
        """
        if self._is_closing:
            raise JobGoneError

    def close(self) -> None:
        """Stop; what is not done is put back."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(_STOP_S)  # what cannot be stopped in time ends with the process
        self._jobs.put_back()

    def _run(self) -> None:
        while not self._is_closing:
            try:
                self._jobs.put_back()  # what ended, if that could not be written down
                self._jobs.tidy()
                claimed = self._jobs.claim()
                if claimed is not None:
                    self._do(claimed)
                    continue
            except Exception as error:  # such as a full disk: the next look may find it mended
                logger.error("jobs: %s: %s", type(error).__name__, error)
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()

    def _do(self, claimed: Claimed) -> None:
        def note(progress: float | None) -> None:
            self.check()
            self._jobs.note(claimed.id, progress)

        try:
            if claimed.is_hopeless:
                raise RuntimeError("it ended its process each time that it was done")
            with acting_for(str(claimed.caller)):
                answer = self._work(claimed, note)
        except JobGoneError:  # it was cancelled, or close() puts it back
            return
        except Exception as error:
            told = failed(error, claimed.caller.request_id)[1]
            self._jobs.finish(claimed.id, "failed", told)
            return
        self._jobs.finish(claimed.id, "done", answer)


class Sparingly:
    """An :class:`mvector.embedding.inference.Inference` that asks for few clips at once.

    So what others ask for meanwhile waits for these few only.

    Args:
        inference: what computes.
        most: clips at once.
        check: is called before each time; what it raises ends the work.
    """

    def __init__(self, inference: Inference, most: int, check: Callable[[], None]) -> None:
        self._inference, self._most, self._check = inference, most, check

    @property
    def fingerprint(self) -> str:
        """The model's."""
        return self._inference.fingerprint

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """As that of the model."""
        return self._inference.evaluation_mode()

    def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """As :meth:`mvector.embedding.inference.Inference.begin`; waiting computes."""

        def compute() -> np.ndarray:
            parts = []
            for first in range(0, len(clips), self._most):
                self._check()
                parts.append(self._inference.begin(clips[first : first + self._most])())
            return np.concatenate(parts)

        return compute
