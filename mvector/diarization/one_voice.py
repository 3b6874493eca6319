"""What the network that finds speech misses where a recording, or its channel, is one person's.

The network remembers what it heard, and may come to take minutes of plain speech for none: single
words with pauses over a telephone do that to it, at one level and not at another. Where one person
speaks, the level tells where they may, and their voice whether it was them.
"""

from __future__ import annotations

import numpy as np

from mvector.audio.level import FRAME_S, sound_of
from mvector.audio.quality import cut_frames, find_speech, powers_of
from mvector.audio.silence import stretches_of
from mvector.audio.vad import MIN_PAUSE_S
from mvector.diarization.clustering import core_of

_LEAST_S = 0.3  # what is shorter is breath, or the end of a word
_LEAST_SURE = 4  # windows that the voice is known by
# Of the cosine that the windows of a person have with the core of their voice, as a rule. Of their
# words that the network missed, nine of ten are above; of what somebody else says in the other
# channel, one of ten, and of breath none.
_ALIKE = 0.5


def loud_stretches(block: np.ndarray, rate: int, found: np.ndarray) -> np.ndarray:
    """``(S, 2)`` samples of what is as loud as speech, outside of what was found ``(F, 2)``."""
    frames = cut_frames(sound_of(block, rate).placed, rate)
    if not len(frames):
        return np.zeros((0, 2), np.int64)
    is_loud = find_speech(powers_of(frames))[1]
    edges = stretches_of(is_loud)
    for start, stop in zip(edges[:-1, 1], edges[1:, 0], strict=True):
        is_loud[start:stop] |= stop - start < MIN_PAUSE_S / FRAME_S
    size = frames.shape[1]
    for start, stop in found.tolist():
        is_loud[start // size : -(-stop // size)] = False
    edges = stretches_of(is_loud)
    return edges[edges[:, 1] - edges[:, 0] >= _LEAST_S / FRAME_S] * size


def in_voice(units: np.ndarray, is_sure: np.ndarray) -> np.ndarray:
    """Which windows ``(N,)`` hold the voice of those that are sure to hold one person's.

    Args:
        units: ``(N, embd_dim)`` embeddings of length 1.
        is_sure: ``(N,)``; of too few nobody can be told, and no other window is taken.
    """
    if np.count_nonzero(is_sure) < _LEAST_SURE:
        return is_sure
    cosines = units @ core_of(units[is_sure])
    return is_sure | (cosines >= _ALIKE * np.median(cosines[is_sure]))
