"""What leaks from one channel of a call into the other one: the echo of a handset, or of the line.

Who speaks on one channel is then heard on the other one too, quieter and perhaps later, and what
finds speech takes it for speech of that channel. An echo gives itself away by its level, which
follows that of the other channel, moment by moment, at a steady distance: what a person says does
not, nor does the noise of a room. Where both people speak, a channel is louder than its echo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvector.audio import AudioLimits, AudioSource, channel_blocks
from mvector.audio.level import FRAME_S, sound_of
from mvector.audio.quality import find_speech
from mvector.audio.silence import stretches_of
from mvector.audio.vad import merge_and_pad

# Levels are relative to the loudest hundredth of a channel, so that it does not matter how loud
# the one is recorded, and how loud the other.
_LOUDEST = 99.0
_FLOOR_DB = -60.0
_SOFTEST_DB = -20.0  # of the other channel, where its person is taken to speak
_LOUDER_DB = 6.0  # the other channel, at least, where a channel may hold nothing but an echo
_MAX_DELAY = 15  # frames: 0.3 s
_UNRELATED = (-110, -95, -80, -65, -50, 50, 65, 80, 95, 110)  # delays that no echo has
_FOLLOWS = 0.2  # correlation of levels, beyond that at delays that no echo has
_LEAST_FRAMES = 250
_SMOOTH = 5  # frames whose mean power is compared
_RINGS = 3  # frames that an echo lasts longer
_VARIES_DB = 6.0  # the distance of an echo, above its median
_SPEECH_DB = 6.0  # above the noise of a channel


@dataclass(frozen=True)
class Echo:
    """What a channel holds of the other one.

    Attributes:
        level_db: how loud it is, relative to the speech of this channel.
        places: ``(S, 2)`` seconds, in which this channel holds nothing but that.
    """

    level_db: float
    places: np.ndarray


def find_echoes(
    source: AudioSource, pair: tuple[int, int], limits: AudioLimits
) -> tuple[Echo | None, Echo | None]:
    """What each of two channels with a person each holds of the other one; ``None``: nothing.

    The recording is read once, block by block; what is kept are two numbers for each 20 ms of it.

    Raises:
        AudioError: the recording cannot be decoded.
    """
    blocks = [
        np.stack([_powers(samples[:, channel], rate) for channel in pair])
        for samples, rate in channel_blocks(source, limits=limits)
    ]
    first, second = np.concatenate([np.zeros((2, 0)), *blocks], axis=1)
    return echo_in(first, second), echo_in(second, first)


def echo_in(own: np.ndarray, other: np.ndarray) -> Echo | None:
    """What a channel holds of another one, by the powers ``(frames,)`` of 20 ms of both."""
    if not (own.any() and other.any()):
        return None
    own_db, other_db = _levels(own), _levels(other)
    likeness = [_likeness(own_db, other_db, delay) for delay in range(_MAX_DELAY + 1)]
    delay = int(np.argmax(likeness))
    usual = float(np.mean([_likeness(own_db, other_db, far) for far in _UNRELATED]))
    if likeness[delay] - max(usual, 0.0) < _FOLLOWS:
        return None
    chosen = _may_be_echo(own_db, other_db, delay)
    own_db, other_db = _levels(_smooth(own), own), _levels(_smooth(other), other)
    width = delay + _RINGS + 1
    padded = np.pad(other_db, (width - 1, 0), constant_values=_FLOOR_DB)
    above_db = own_db - np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
    usual_db = float(np.median(above_db[chosen]))
    is_louder = above_db > min(usual_db + _VARIES_DB, -_LOUDER_DB)
    noise_db = _levels(np.array([find_speech(own[own > 0.0])[0]]), own)
    is_echo = ~is_louder
    for start, stop in merge_and_pad(
        stretches_of(is_louder & (own_db > noise_db + _SPEECH_DB)), len(own), round(1.0 / FRAME_S)
    ).tolist():
        is_echo[start:stop] = False  # of the person of this channel
    return Echo(usual_db, stretches_of(is_echo) * FRAME_S)


def _likeness(own_db: np.ndarray, other_db: np.ndarray, delay: int) -> float:
    """Correlation of the levels of two channels, where the other one, a moment ago, is louder."""
    chosen = _may_be_echo(own_db, other_db, delay)
    if np.count_nonzero(chosen) < _LEAST_FRAMES:
        return 0.0
    with np.errstate(invalid="ignore", divide="ignore"):  # a level that does not change
        pair = np.corrcoef(own_db[chosen], np.roll(other_db, delay)[chosen])
    return float(np.nan_to_num(pair[0, 1]))


def _may_be_echo(own_db: np.ndarray, other_db: np.ndarray, delay: int) -> np.ndarray:
    other_db = np.roll(other_db, delay)
    return (other_db > _SOFTEST_DB) & (own_db < other_db - _LOUDER_DB)


def _powers(samples: np.ndarray, rate: int) -> np.ndarray:
    """Mean square of every 20 ms of a block; of a rate without whole samples in them, nearly."""
    placed = sound_of(samples, rate).placed.astype(np.float64)
    count = max(1, int(len(placed) / (FRAME_S * rate) + 1e-6))
    starts = np.round(np.arange(count) * FRAME_S * rate).astype(np.int64)
    return np.add.reduceat(placed**2, starts) / np.diff(starts, append=len(placed))


def _smooth(powers: np.ndarray) -> np.ndarray:
    return np.convolve(powers, np.full(_SMOOTH, 1.0 / _SMOOTH), "same")


def _levels(powers: np.ndarray, channel: np.ndarray | None = None) -> np.ndarray:
    """Levels in dB relative to the loudest of a channel's powers, the powers themselves."""
    loudest_db = _loudest_db(powers if channel is None else channel)
    return np.maximum(10.0 * np.log10(np.maximum(powers, 1e-20)) - loudest_db, _FLOOR_DB)


def _loudest_db(powers: np.ndarray) -> float:
    return 10.0 * float(np.log10(max(np.percentile(powers, _LOUDEST), 1e-20)))
