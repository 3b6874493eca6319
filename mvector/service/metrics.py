"""What the service counts, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

#: The environment variable that names the folder where several processes count together. It has to
#: be set before this module is imported.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one service. Names of people are in none of them.

    Attributes:
        waiting: requests that compute or wait.
        streams: that are open.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "mvector_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "mvector_request_seconds",
            "From the first header to the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._clips = Counter("mvector_clips", "Clips taken in.", registry=registry)
        self._batches = Histogram(
            "mvector_batch_clips",
            "Windows of clips computed at once.",
            buckets=_BATCHES,
            registry=registry,
        )
        self.waiting = Gauge(
            "mvector_requests_under_way",
            "Requests that compute or wait.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.streams = Gauge(
            "mvector_streams",
            "Streams that are open.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._jobs = Gauge(
            "mvector_jobs",
            "Recordings that are not done yet.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def answered(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Count a request by the pattern of its path, in which no name stands."""
        route = getattr(scope.get("route"), "path", "none")
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def clips(self, count: int) -> None:
        """Count clips."""
        self._clips.inc(count)

    def batch(self, size: int) -> None:
        """Note the size of a batch."""
        self._batches.observe(size)

    def text(self, num_jobs: int) -> bytes:
        """All of them, of all processes of the service."""
        self._jobs.set(num_jobs)
        folder = os.environ.get(SHARED_FOLDER)
        if folder is None:
            return generate_latest(self._registry)
        _forget_the_dead(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together, folder)
        return generate_latest(together)


def _forget_the_dead(folder: Path) -> None:
    """Leave out what lives no more of the numbers that are of living processes."""
    if os.name == "nt":  # there the question would end the process
        return
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process was faster
                mark_process_dead(pid, str(folder))
