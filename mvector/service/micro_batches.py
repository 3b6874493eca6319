"""Clips of several requests, computed together by one model."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager

import numpy as np

from mvector.embedding.inference import Inference

_Waiting = tuple[np.ndarray, "Future[np.ndarray]"]


class MicroBatches:
    """An :class:`mvector.embedding.inference.Inference` that gathers the clips of many threads.

    A clip that comes alone is computed at once, in the thread that asks: no thread has to wake
    another. While others come, as the last batch tells, the first clip waits ``wait_s`` for them,
    and not once ``batch_size`` are there. Meanwhile more than one batch may wait, and no more clips
    than there are threads that ask.

    Args:
        inference: what computes, in one thread.
        batch_size: clips computed at once.
        wait_s: in seconds.
        told: is told the size of each batch.
    """

    def __init__(
        self,
        inference: Inference,
        batch_size: int = 16,
        wait_s: float = 0.003,
        told: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._inference, self._batch_size, self._wait_s = inference, batch_size, wait_s
        self._told, self._has_company = told, False
        self._computing = threading.Lock()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="micro-batches", daemon=True)
        self._thread.start()

    @property
    def fingerprint(self) -> str:
        """The model's."""
        return self._inference.fingerprint

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """As that of the model."""
        return self._inference.evaluation_mode()

    def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """As :meth:`mvector.embedding.inference.Inference.begin`."""
        if len(clips) == 1 and not self._has_company and self._computing.acquire(blocking=False):
            try:
                self._told(1)
                embeddings = self._inference.begin(clips)()
            finally:
                self._computing.release()
            return lambda: embeddings
        futures: list[Future[np.ndarray]] = [Future() for _ in clips]
        for waiting in zip(clips, futures, strict=True):
            self._queue.put(waiting)
        return lambda: np.stack([future.result() for future in futures])

    def close(self) -> None:
        """Compute what waits, and nothing that comes later."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            with self._computing:
                batch, is_last = self._gather(first)
                self._has_company = len(batch) > 1
                self._told(len(batch))
                self._compute(batch)
            if is_last:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """A batch, and whether nothing comes behind it."""
        batch, until = [first], time.monotonic() + (self._wait_s if self._has_company else 0.0)
        while len(batch) < self._batch_size:
            try:
                more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if more is None:
                return batch, True
            batch.append(more)
        return batch, False

    def _compute(self, batch: list[_Waiting]) -> None:
        clips, futures = zip(*batch, strict=True)
        try:
            embeddings = self._inference.begin(list(clips))()
        except BaseException as error:  # whoever waits is told; the thread goes on for the others
            for future in futures:
                future.set_exception(error)
            return
        for future, embedding in zip(futures, embeddings, strict=True):
            future.set_result(embedding)
