"""Clips read ahead of what is computed, within bounds of memory, and clips too long to hold."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mvector.audio import AudioLimits, AudioSource, audio_windows, source_name
from mvector.audio.decoding import replayable
from mvector.errors import AudioError, MVectorError
from mvector.features.front_end import FrontEnd

#: Longer clips are heard window by window, and their windows' embeddings averaged.
WINDOW_S = 30.0

_MOST_READERS = 4
_MOST_BEING_READ = 32
_MOST_SAMPLES = 24 << 20  # decoded ahead, 96 MiB; as much again is in use meanwhile


@dataclass(frozen=True)
class LongClip:
    """A clip that is heard window by window.

    Attributes:
        windows: gives its windows, decoded as they are asked for, at the model's rate.
        name: how messages call it.
    """

    windows: Callable[[], Iterator[np.ndarray]]
    name: str

    def usable(
        self, front_end: FrontEnd, look: Callable[[np.ndarray], None]
    ) -> Iterator[np.ndarray]:
        """Those windows that an embedding can be computed from; ``look`` sees all of them.

        Raises:
            AudioError: none can, or the clip is damaged.
        """
        found, reason = False, ""
        for window in self.windows():
            look(window)
            try:
                clip = front_end.check_clip(window, self.name)
            except AudioError as error:
                reason = str(error)
                continue
            found = True
            yield clip
        if not found:
            raise AudioError(reason)


Clip: TypeAlias = "np.ndarray | LongClip"


def read_clip(
    front_end: FrontEnd,
    source: AudioSource,
    limits: AudioLimits,
    look: Callable[[np.ndarray], None],
) -> Clip:
    """A clip as the model hears it, or a long one to be decoded piece by piece.

    Args:
        front_end: of the model.
        source: the clip.
        limits: bounds that it is held to.
        look: sees the samples of a short clip before they are checked.

    Raises:
        AudioError: the clip cannot be used.
    """
    name, rate = source_name(source), front_end.sample_rate
    source = replayable(source, limits)
    waveform = front_end.decode(source, duration_s=WINDOW_S + 0.1, limits=limits)
    if len(waveform) > round(WINDOW_S * rate):
        return LongClip(lambda: audio_windows(source, rate, window_s=WINDOW_S, limits=limits), name)
    look(waveform)
    return front_end.check_clip(waveform, name)


def read_ahead(
    names: Sequence[str], read: Callable[[int], Clip], group_size: int
) -> Iterator[list[tuple[int, Clip | MVectorError]]]:
    """Clips group by group, in their order; the next ones are read while a group is in use.

    A group has ``group_size`` clips at most, or as many as are some 25 minutes long together.
    """
    pool = ThreadPoolExecutor(max_workers=min(_MOST_READERS, os.cpu_count() or 1))
    coming: deque[Future[tuple[int, Clip | MVectorError]]] = deque()
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
                and num_begun - num_read < _MOST_BEING_READ
                and samples_held < _MOST_SAMPLES
            ):
                coming.append(pool.submit(attempt, num_begun))
                num_begun += 1

    def attempt(position: int) -> tuple[int, Clip | MVectorError]:
        nonlocal num_read, samples_held
        clip = _attempted(names[position], read, position)
        with lock:
            num_read += 1
            samples_held += _num_samples(clip)
        begin_more()
        return position, clip

    try:
        begin_more()
        group: list[tuple[int, Clip | MVectorError]] = []
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


def _attempted(name: str, read: Callable[[int], Clip], position: int) -> Clip | MVectorError:
    try:
        return read(position)
    except MVectorError as error:
        return error
    except (OSError, ValueError) as error:
        return AudioError(f"{name} cannot be used: {error}.")


def _num_samples(clip: Clip | MVectorError) -> int:
    return len(clip) if isinstance(clip, np.ndarray) else 0
