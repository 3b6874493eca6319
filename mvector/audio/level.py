"""What of a recording is sound, how loud that is, and what counts as silence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvector.audio.silence import digital_silence, is_sound
from mvector.errors import AudioError

SILENCE_DB = -80.0
FRAME_S = 0.02  # of all measures

_TRACK_RATE_HZ = 400
_TRACK_CUT_HZ = 26.0  # half of what swings at this rate; voices begin at 60 Hz
_TRACK_TAPS = 120  # even, so that the track is that of the borders between blocks
_BLOCKS_PER_FRAME = round(FRAME_S * _TRACK_RATE_HZ)
_ROWS_AT_ONCE = 4096  # which stay in the processor's cache


class Sound(NamedTuple):
    """What of a recording is sound; see :func:`sound_of`."""

    samples: np.ndarray  # (sounding samples,), one stretch of sound behind the other
    placed: np.ndarray  # (samples,): where they lie in the recording, and zeros elsewhere

    @property
    def level_db(self) -> float:
        """RMS level in dB relative to full scale; -inf where there is no sound."""
        return level_db(self.samples)


def sound_of(waveform: np.ndarray, sample_rate: int) -> Sound:
    """What a recording holds besides its offset and its digital silence: all measures are of this.

    Digital silence (:mod:`mvector.audio.silence`) is what a gate, a muted line or an editor left.
    It tells nothing of the room or the voice. Of the rest, what lies below about 20 Hz is taken
    away: a constant offset, and the drift of a cheap input. Where less than 40 ms are left beside
    digital silence, these are clicks or what resampling makes of its edges, and there is no sound
    at all.

    Args:
        waveform: float array of shape ``(samples,)`` in [-1, 1].
        sample_rate: in Hz.
    """
    silence = digital_silence(waveform, sample_rate)
    if not silence:
        samples = _without_drift(waveform, sample_rate)
        return Sound(samples, samples)
    sounds = is_sound(len(waveform), silence)
    rest, placed = waveform[sounds], np.zeros_like(waveform)
    if len(rest) < 2 * FRAME_S * sample_rate:
        return Sound(rest[:0], placed)
    samples = _without_drift(rest, sample_rate)
    placed[sounds] = samples
    return Sound(samples, placed)


def _without_drift(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """A copy without what lies below about 20 Hz.

    That is found at 400 Hz, in the means of short blocks, by a windowed sinc, and is a straight
    line within a block: a constant goes altogether, 5 Hz by 58 dB, 15 Hz by 38, and 60 Hz stays
    within a hundredth of a dB. A filter smears the thump of a plosive or a door into the pauses
    beside it: where taking its drift away makes 20 ms louder, these stay as they are.
    """
    if not len(waveform):
        return waveform.copy()
    block = max(1, round(sample_rate / _TRACK_RATE_HZ))
    num_blocks = -(-len(waveform) // block)
    padding = num_blocks * block - len(waveform)
    blocks = np.pad(waveform, (0, padding), mode="edge").reshape(num_blocks, block)
    means = np.pad(blocks.mean(axis=1), _TRACK_TAPS // 2, mode="reflect", reflect_type="odd")
    borders = np.convolve(means, _LOW_PASS, "valid").astype(waveform.dtype)
    slope = (np.arange(block, dtype=waveform.dtype) + 0.5) / block
    for first in range(0, num_blocks, _ROWS_AT_ONCE):
        rows = slice(first, min(num_blocks, first + _ROWS_AT_ONCE))
        left, right = borders[:-1][rows, None], borders[1:][rows, None]
        level = blocks[rows] - (left + (right - left) * slope)
        before, after = (np.einsum("ij,ij->i", x, x) for x in (blocks[rows], level))
        gain = np.add.reduceat(after - before, np.arange(0, len(level), _BLOCKS_PER_FRAME))
        is_quieter = np.repeat(gain < 0, _BLOCKS_PER_FRAME)[: len(level), None]
        np.copyto(blocks[rows], level, where=is_quieter)
    return blocks.reshape(-1)[: len(waveform)]


def _low_pass() -> np.ndarray:
    """Taps of the filter that finds the drift; their sum is 1."""
    places = np.arange(_TRACK_TAPS) - (_TRACK_TAPS - 1) / 2
    taps = np.sinc(2.0 * _TRACK_CUT_HZ / _TRACK_RATE_HZ * places) * np.blackman(_TRACK_TAPS)
    return taps / taps.sum()


_LOW_PASS = _low_pass()


def level_db(samples: np.ndarray) -> float:
    """``10 log10(mean square)`` of samples as they are; -inf for zeros, or none.

    The level of a recording is that of its sound: ``sound_of(waveform, sample_rate).level_db``.
    """
    energy = float(np.einsum("i,i->", samples, samples, dtype=np.float64))
    power = energy / max(1, len(samples))
    return 10.0 * float(np.log10(power)) if power > 0.0 else -np.inf


def check_speech(
    waveform: np.ndarray,
    sample_rate: int,
    *,
    name: str,
    min_duration_s: float,
    dropped_s: float = 0.0,
) -> None:
    """Refuse a clip that no embedding should be computed from.

    Args:
        waveform: float array of shape ``(samples,)`` in [-1, 1].
        sample_rate: in Hz.
        name: how the message calls the clip.
        min_duration_s: shortest accepted duration in seconds.
        dropped_s: seconds of silence that are missing from the waveform, for the message.

    Raises:
        AudioError: the clip is shorter than that, or the level of its sound is below -80 dB.
    """
    check_duration(
        len(waveform) / sample_rate, name=name, min_duration_s=min_duration_s, dropped_s=dropped_s
    )
    if sound_of(waveform, sample_rate).level_db < SILENCE_DB:
        raise AudioError(
            f"{name} is silent (level below {SILENCE_DB:g} dB); record it again.",
            code="audio-silent",
        )


def check_duration(
    duration_s: float, *, name: str, min_duration_s: float, dropped_s: float = 0.0
) -> None:
    """Raise AudioError for a clip of less than ``min_duration_s`` seconds.

    ``dropped_s`` is the silence that was dropped from it before.
    """
    if duration_s < min_duration_s:
        left = f" after {dropped_s:.2f} s of silence were dropped" if dropped_s else ""
        raise AudioError(
            f"{name} is too short: it lasts {duration_s:.2f} s{left}, "
            f"and at least {min_duration_s:g} s are needed.",
            code="audio-too-short",
        )
