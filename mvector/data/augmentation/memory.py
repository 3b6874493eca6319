"""Decoded clips in memory that the workers of a data loader share."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class SharedArrays:
    """Arrays that are filled one by one, when first asked for, in memory that forked workers share.

    Made before the workers are forked, it is there once for all of them, whoever fills it: two that
    fill the same array at the same time write the same bytes. Where workers are spawned instead
    (Windows, macOS), each has its own, as pickling leaves the content out. Memory is used as
    arrays are filled.

    Which arrays are kept depends on their sizes alone, never on the order of use, so that a value
    cannot depend on what came before it.

    Args:
        capacities: most samples in each array.
        dtype: int16 keeps a float waveform as shares of its peak, which costs 98 dB below the peak;
            float32 keeps it as it is.
        max_bytes: arrays are kept in order as long as they fit.
    """

    def __init__(self, capacities: Sequence[int], dtype: type, max_bytes: int) -> None:
        sizes = np.asarray(capacities, dtype=np.int64)
        ends = np.cumsum(sizes)
        self.dtype = np.dtype(dtype)
        self.num_kept = int(np.searchsorted(ends * self.dtype.itemsize, max_bytes, side="right"))
        self._starts = (ends - sizes)[: self.num_kept]
        self._sizes = sizes[: self.num_kept]
        self._allocate()

    def _allocate(self) -> None:
        total = int(self._sizes.sum())
        count = self.num_kept
        self._samples = _shared_zeros(total, self.dtype)
        self._lengths = _shared_zeros(count, np.dtype(np.int64))  # 0: not filled yet
        self._scales = _shared_zeros(count, np.dtype(np.float32))

    def __getstate__(self) -> dict[str, Any]:
        content = ("_samples", "_lengths", "_scales")
        return {key: value for key, value in self.__dict__.items() if key not in content}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._allocate()

    def read(
        self, index: int, make: Callable[[], np.ndarray], start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """A stretch of one of the first ``num_kept`` arrays, as a new float32 array.

        ``make`` gives the whole array, if it has not been filled yet.
        """
        self.length(index, make)
        first, length = self._starts[index], self._lengths[index]
        last = length if stop is None else min(stop, length)
        stretch = self._samples[first + start : first + last].astype(np.float32)
        stretch *= self._scales[index]  # two passes are faster than one of mixed types
        return stretch

    def length(self, index: int, make: Callable[[], np.ndarray]) -> int:
        """Samples in one array, filling it if need be."""
        if not self._lengths[index]:
            self._fill(index, make())
        return int(self._lengths[index])

    def _fill(self, index: int, waveform: np.ndarray) -> None:
        waveform = waveform[: self._sizes[index]]
        first, last = self._starts[index], self._starts[index] + len(waveform)
        if self.dtype == np.int16:
            peak = float(np.abs(waveform).max(initial=0.0))
            self._samples[first:last] = np.rint(waveform * (32767.0 / peak if peak else 0.0))
            self._scales[index] = peak / 32767.0
        else:
            self._samples[first:last] = waveform
            self._scales[index] = 1.0
        self._lengths[index] = len(waveform)  # last: says to other processes that all is there


def _shared_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    memory = mmap.mmap(-1, max(1, count * dtype.itemsize))  # anonymous: zeros, shared after a fork
    return np.frombuffer(memory, dtype, count)
