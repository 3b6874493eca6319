"""Clips read ahead of what is computed, within bounds of memory, and put into batches."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from mvector.embedding.listening import LongClip
from mvector.errors import AudioError, MVectorError

ClipAudio: TypeAlias = "np.ndarray | LongClip"
#: The position of a clip, and its audio or why it cannot be read.
ReadClip: TypeAlias = "tuple[int, ClipAudio | MVectorError]"

_MAX_READERS = 4
_MAX_READING = 32
_MOST_SAMPLES = 24 << 20  # decoded ahead, 96 MiB; as much again is in use meanwhile
_SAMPLES_OF_LONG_CLIP = 3 << 20  # of a long clip: two windows, and the decoder's block


def read_ahead(
    names: Sequence[str], read: Callable[[int], ClipAudio], group_size: int
) -> Iterator[list[ReadClip]]:
    """Clips group by group, in their order; the next ones are read while a group is in use.

    A group has ``group_size`` clips at most, or as many as are some 25 minutes long together.
    """
    pool = ThreadPoolExecutor(max_workers=min(_MAX_READERS, os.cpu_count() or 1))
    coming: deque[Future[ReadClip]] = deque()
    lock = threading.Lock()
    num_begun = num_read = samples_held = 0
    stopped = False

    def begin_more() -> None:
        nonlocal num_begun
        with lock:
            while (
                not stopped
                and num_begun < len(names)
                and len(coming) < group_size
                and num_begun - num_read < _MAX_READING
                and samples_held < _MOST_SAMPLES
            ):
                coming.append(pool.submit(attempt, num_begun))
                num_begun += 1

    def attempt(position: int) -> ReadClip:
        nonlocal num_read, samples_held
        clip = _read_or_error(names[position], read, position)
        with lock:
            num_read += 1
            samples_held += _num_samples(clip)
        begin_more()
        return position, clip

    try:
        begin_more()
        group: list[ReadClip] = []
        in_group = 0
        for _ in names:
            position, clip = coming[0].result()
            with lock:
                coming.popleft()
                samples_held -= _num_samples(clip)
            begin_more()
            group.append((position, clip))
            in_group += _num_samples(clip)
            if len(group) == group_size or in_group >= _MOST_SAMPLES:
                yield group
                group, in_group = [], 0
        if group:
            yield group
    finally:
        with lock:
            stopped = True
        pool.shutdown(cancel_futures=True)


def length_sorted_batches(
    clips: list[tuple[int, np.ndarray]], batch_size: int, most_samples: int
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Clips of similar length together, no more than so many samples with the padding."""
    clips.sort(key=lambda item: len(item[1]))
    part: list[tuple[int, np.ndarray]] = []
    for item in clips:
        if part and (len(part) == batch_size or (len(part) + 1) * len(item[1]) > most_samples):
            yield part
            part = []
        part.append(item)
    if part:
        yield part


def _read_or_error(
    name: str, read: Callable[[int], ClipAudio], position: int
) -> ClipAudio | MVectorError:
    try:
        return read(position)
    except MVectorError as error:
        return error
    except (OSError, ValueError) as error:
        return AudioError(f"{name} cannot be used: {error}.")


def _num_samples(clip: ClipAudio | MVectorError) -> int:
    if isinstance(clip, LongClip):
        return _SAMPLES_OF_LONG_CLIP
    return len(clip) if isinstance(clip, np.ndarray) else 0
