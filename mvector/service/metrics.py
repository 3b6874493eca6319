"""What the service counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one service. Names of people are in none of them."""

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
        self._waiting = Gauge(
            "mvector_requests_under_way", "Requests that compute or wait.", registry=registry
        )

        self._jobs = Gauge("mvector_jobs", "Recordings that are not done yet.", registry=registry)
        self._streams = Gauge("mvector_streams", "Streams that are open.", registry=registry)

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

    def follow_waiting(self, count: Callable[[], int]) -> None:
        """Ask for the number of requests under way whenever somebody reads."""
        self._waiting.set_function(count)

    def follow_jobs(self, count: Callable[[], int]) -> None:
        """Ask for the number of recordings that are not done whenever somebody reads."""
        self._jobs.set_function(count)

    def follow_streams(self, count: Callable[[], int]) -> None:
        """Ask for the number of open streams whenever somebody reads."""
        self._streams.set_function(count)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
