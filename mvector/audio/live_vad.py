"""Where speech is in sound as it comes, by the network of Silero, which hears all of it once.

To look again at the last seconds would be simpler, but the network then begins anew each time, and
changes its mind on what was told already.
"""

from __future__ import annotations

import numpy as np
import soxr

from mvector.audio.vad import CHUNK, SILERO_RATE, SileroNetwork, merge_and_pad, speech_of


class LiveSilero:
    """Speech in sound that comes in parts, by the rules of ``speech_segments``.

    Args:
        sample_rate: in Hz.

    Raises:
        MissingDependencyError: the network is not installed.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate, self._network = sample_rate, SileroNetwork()
        self._resampler = None
        if sample_rate != SILERO_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SILERO_RATE, 1, dtype="float32")
        self._rest = np.zeros(0, np.float32)  # less than a chunk
        self._probabilities = np.zeros(0, np.float32)
        self._first = 0  # chunks before these

    def hear(self, samples: np.ndarray, *, is_last: bool = False) -> None:
        """What comes next, float32 ``(samples,)`` of about the same level as what came before."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=is_last)
        sound = np.concatenate([self._rest, samples])
        num_chunks = -(-len(sound) // CHUNK) if is_last else len(sound) // CHUNK
        whole, self._rest = np.split(sound, [num_chunks * CHUNK])
        whole = np.pad(whole, (0, num_chunks * CHUNK - len(whole)))
        self._probabilities = np.concatenate([self._probabilities, self._network(whole)])

    def segments(self, end: int) -> np.ndarray:
        """``(S, 2)`` samples from the beginning: the speech in what is remembered, to the end."""
        active = speech_of(self._probabilities, self._rate, end, self._first)
        return merge_and_pad(active, end, self._rate)

    def forget(self, until: int) -> None:
        """What is before a sample, from the beginning, is not asked for again."""
        num_chunks = int(until * SILERO_RATE / (CHUNK * self._rate)) - self._first
        if num_chunks > 0:
            self._probabilities = self._probabilities[num_chunks:].copy()
            self._first += num_chunks
