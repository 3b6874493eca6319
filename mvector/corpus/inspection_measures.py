"""What is measured of one clip: level, silence, clipping, bandwidth and a digest of its samples."""

from __future__ import annotations

import hashlib

import numpy as np

from mvector.audio import SILENCE_DB
from mvector.audio.level import FRAME_S, sound_of

FULL_SCALE = 0.999  # a sample at or above this magnitude was probably cut off there
SILENCE_RANGE_DB = 40.0  # as do_vad: a frame this far below the clip's loudest is silence
HIGH_BAND_HZ = 4000  # speech sampled at 8 kHz holds nothing above
LOW_CUT_HZ = 100  # DC and hum below this say nothing about the band of the speech

#: One record for each clip; an unreadable clip keeps ``readable`` False and zeros elsewhere.
MEASURES = np.dtype(
    [
        ("readable", "?"),
        ("num_samples", "i8"),  # of each channel
        ("sample_rate", "i4"),
        ("num_channels", "i2"),
        ("format", "S20"),
        ("level_db", "f4"),
        ("silence_share", "f4"),
        ("clipped_share", "f4"),
        ("high_band_share", "f4"),
        ("digest", "V20"),
    ]
)

_BLOCK = 1 << 20  # samples: an hour of speech is not copied at once


def measure_waveform(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Measure a decoded clip.

    ``level_db`` is the RMS level over full scale of the clip's sound, without offset and digital
    silence (:func:`mvector.audio.level.sound_of`). ``silence_share`` is the share of 20 ms frames
    that are digital silence or more than 40 dB below the loudest one, and 1 for a clip below
    -80 dB. ``clipped_share`` is the share of samples at full scale. ``high_band_share`` is the part
    above 4 kHz of the energy above 100 Hz (Hann windows of about 32 ms), NaN where the rate is
    8 kHz or less. ``digest`` is the SHA-1 of the samples as little-endian int16, so that a wav
    and its flac have the same.

    Args:
        waveform: float32 ``(samples,)`` in [-1, 1].
        sample_rate: its rate in Hz.

    Returns:
        A :data:`MEASURES` record ``()``, in which ``num_channels`` and ``format`` are not set.
    """
    record = np.zeros((), MEASURES)
    record["readable"] = True
    record["num_samples"] = len(waveform)
    record["sample_rate"] = sample_rate
    digest = hashlib.sha1(usedforsecurity=False)
    for start in range(0, len(waveform), _BLOCK):
        block = waveform[start : start + _BLOCK]
        steps = np.clip(np.rint(block * np.float32(32768.0)), -32768, 32767)
        digest.update(steps.astype("<i2").tobytes())
    sound = sound_of(waveform, sample_rate)
    record["level_db"] = sound.level_db
    record["digest"] = np.void(digest.digest())
    record["clipped_share"] = clipped_share(waveform)
    silent = record["level_db"] < SILENCE_DB
    record["silence_share"] = 1.0 if silent else _silence_share(sound.placed, sample_rate)
    record["high_band_share"] = _high_band_share(waveform, sample_rate)
    return record


def clipped_share(samples: np.ndarray) -> float:
    """Share of samples at full scale; any shape."""
    blocks = (samples[i : i + _BLOCK] for i in range(0, len(samples), _BLOCK))
    clipped = sum(int(np.count_nonzero(np.abs(block) >= FULL_SCALE)) for block in blocks)
    return clipped / samples.size


def _silence_share(waveform: np.ndarray, sample_rate: int) -> float:
    frame = min(max(1, round(FRAME_S * sample_rate)), len(waveform))
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    powers = np.einsum("ij,ij->i", frames, frames)
    return float(np.mean(powers < powers.max() * 10.0 ** (-SILENCE_RANGE_DB / 10.0)))


def _high_band_share(waveform: np.ndarray, sample_rate: int) -> float:
    if sample_rate <= 2 * HIGH_BAND_HZ:
        return float("nan")
    size = 1 << round(np.log2(0.032 * sample_rate))
    if len(waveform) < size:
        waveform = np.pad(waveform, (0, size - len(waveform)))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    window = np.hanning(size + 2)[1:-1].astype(np.float32)  # without its zeros
    power = np.zeros(size // 2 + 1)
    for start in range(0, len(frames), 4096):
        spectra = np.fft.rfft(frames[start : start + 4096] * window)
        power += (spectra.real**2 + spectra.imag**2).sum(axis=0, dtype=np.float64)
    frequencies = np.arange(size // 2 + 1) * (sample_rate / size)
    total = power[frequencies >= LOW_CUT_HZ].sum()
    return float(power[frequencies > HIGH_BAND_HZ].sum() / total) if total > 0.0 else float("nan")
