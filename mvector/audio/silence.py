"""Digital silence: what gates, muted lines, editors and codecs leave where nothing was recorded."""

from __future__ import annotations

import numpy as np

#: How far below the clip's peak everything in digital silence lies: zeros, what lossy codecs make
#: of them, and the dither of 16 bits (two of its steps at the most, in a clip at full scale).
BELOW_PEAK_DB = 84.0
#: Shorter stretches stay where clips are freed of it, as a gate also closes within words; not so at
#: the ends, where a longer one may have been cut.
DROPPED_S, DROPPED_AT_ENDS_S = 0.2, 0.005
LEAST_S = 0.02  # of any: it is a frame of the measures

_STILL = 2.0**-20  # of full scale, a 32nd of a 16-bit step: less is the dust of filters
_BLOCK_S = 0.005
_WINDOW = 3  # blocks: almost a period of the lowest voice


def digital_silence(waveform: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """Find digital silence; gives ``(start, stop)`` of each stretch in samples, in order.

    That is a stretch of 20 ms or more in which the signal moves by less than 84 dB below the
    clip's peak to either side of where it stands, which may be an offset and need not be zero.
    Peak is half of the most that the signal moves within 15 ms, so that an offset has no part
    in it. The peak is that of what is given: of the windows of a long clip, each has its own.

    Args:
        waveform: float array of shape ``(samples,)`` in [-1, 1].
        sample_rate: in Hz.
    """
    block, least = max(1, round(_BLOCK_S * sample_rate)), round(LEAST_S * sample_rate)
    num_blocks = len(waveform) // block
    if num_blocks < _WINDOW:
        return []
    blocks = waveform[: num_blocks * block].reshape(num_blocks, block)
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    low = np.minimum(np.minimum(low[:-2], low[1:-1]), low[2:])
    high = np.maximum(np.maximum(high[:-2], high[1:-1]), high[2:])
    swing = 0.5 * (high - low)
    limit = max(_STILL, 10.0 ** (-BELOW_PEAK_DB / 20.0) * float(swing.max()))
    is_still = swing <= limit
    borders = stretches_of(is_still)
    # A stretch goes on into the block before it and the one behind it, and no further.
    shortest = least - (_WINDOW + 1) * block
    found = []
    for first, last in borders[np.diff(borders, axis=1)[:, 0] * block > shortest].tolist():
        # as far as the signal moves no more than it does within, so that zeros end where they end
        most = max(_STILL, float(swing[first:last].max()))
        start, stop = first * block, (last + _WINDOW - 1) * block
        before, behind = waveform[max(0, start - block) : start], waveform[stop : stop + block]
        start -= _still_samples(before[::-1], 0.5 * (low[first] + high[first]), most)
        stop += _still_samples(behind, 0.5 * (low[last - 1] + high[last - 1]), most)
        if stop - start >= least:
            found.append((start, stop))
    return found


def _still_samples(samples: np.ndarray, centre: float, most: float) -> int:
    """How many samples from the first one on lie no further than ``most`` from ``centre``."""
    moves = np.flatnonzero(np.abs(samples - centre) > most)
    return int(moves[0]) if len(moves) else len(samples)


def is_sound(num_samples: int, silence: list[tuple[int, int]]) -> np.ndarray:
    """Which samples lie in none of the stretches, bool ``(samples,)``."""
    sounds = np.ones(num_samples, dtype=bool)
    for start, stop in silence:
        sounds[start:stop] = False
    return sounds


def stretches_of(mask: np.ndarray) -> np.ndarray:
    """Begin and end of each stretch in which a mask is true, ``(stretches, 2)``, in order."""
    return np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)


def dropped_silence(waveform: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """What :func:`drop_digital_silence` drops: ``(start, stop)`` in samples, in order."""
    end = len(waveform)
    if not end:
        return []
    # Before the first sample and behind the last one, it is silent.
    margin = round(LEAST_S * sample_rate)
    found = digital_silence(np.pad(waveform, margin, mode="edge"), sample_rate)
    silence = []
    for first, last in found:
        start, stop = max(0, first - margin), min(end, last - margin)
        least_s = DROPPED_AT_ENDS_S if start == 0 or stop == end else DROPPED_S
        if stop - start >= round(least_s * sample_rate):
            silence.append((start, stop))
    return silence


def drop_digital_silence(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The waveform without digital silence of 0.2 s or more, and of 5 ms or more at its ends.

    It is cut out to the sample: what lies before and behind it is joined as it would be without.

    Args:
        waveform: float array of shape ``(samples,)`` in [-1, 1].
        sample_rate: in Hz.

    Returns:
        Array of shape ``(sounding samples,)``, perhaps empty; the waveform itself if it has none.
    """
    silence = dropped_silence(waveform, sample_rate)
    return waveform[is_sound(len(waveform), silence)] if silence else waveform
