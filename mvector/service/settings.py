"""What whoever runs the service decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Bounds of a service; how long clips may be is for its predictor to say.

    Attributes:
        max_body_bytes: of a request; more is refused before it is read.
        max_clips: in one request.
        max_upload_s: how long a request may take to arrive, in seconds.
        max_waiting: requests under way or waiting; one more is refused with status 503.
        num_threads: that decode clips and read the library.
        batch_size: clips computed at once.
        batch_wait_s: how long a clip waits for others to be computed with it.
        requests_per_minute: of one key, or of one address without keys; 0: any number.
        max_tries: failed verifications of one person within ``tries_window_s``; 0: any number.
        tries_window_s: in seconds.
    """

    max_body_bytes: int = 16 << 20
    max_clips: int = 16
    max_upload_s: float = 30.0
    max_waiting: int = 64
    num_threads: int = 16
    batch_size: int = 16
    batch_wait_s: float = 0.003
    requests_per_minute: int = 600
    max_tries: int = 5
    tries_window_s: float = 300.0
