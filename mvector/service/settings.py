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
        max_recording_bytes: of a request with a recording, which is not kept in memory.
        max_recording_s: duration of a recording, in seconds.
        max_recording_upload_s: how long a recording may take to arrive, in seconds.
        max_jobs: recordings that arrive, wait or are worked on, of all callers together.
        max_jobs_each: of one caller.
        job_kept_s: how long the result of a job is kept, in seconds.
        max_results: of one caller; the oldest is forgotten for one more.
        max_streams: open at once, of all callers together.
        max_streams_each: of one caller.
        max_stream_s: duration of the sound of a stream, in seconds.
        stream_idle_s: how long a stream may send nothing, or read nothing, in seconds.
        max_waiting: requests under way or waiting; one more is refused with status 503.
        num_threads: that decode clips and read the library.
        batch_size: clips computed at once.
        batch_wait_s: how long a clip waits for others to be computed with it.
        requests_per_minute: of one key, or of one address without keys; 0: any number.
        max_tries: failed verifications of one person within ``tries_window_s``; 0: any number.
        tries_window_s: in seconds.
        has_page: whether ``/`` is a page for people.
    """

    max_body_bytes: int = 16 << 20
    max_clips: int = 16
    max_upload_s: float = 30.0
    max_recording_bytes: int = 512 << 20
    max_recording_s: float = 4 * 3600.0
    max_recording_upload_s: float = 600.0
    max_jobs: int = 16
    max_jobs_each: int = 4
    job_kept_s: float = 3600.0
    max_results: int = 50
    max_streams: int = 16
    max_streams_each: int = 4
    max_stream_s: float = 4 * 3600.0
    stream_idle_s: float = 30.0
    max_waiting: int = 64
    num_threads: int = 16
    batch_size: int = 16
    batch_wait_s: float = 0.003
    requests_per_minute: int = 600
    max_tries: int = 5
    tries_window_s: float = 300.0
    has_page: bool = True
