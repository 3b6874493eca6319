"""Additive noise at an exact signal-to-noise ratio, and talkers who speak at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_BLOCK = 8192  # short enough for one thread, which keeps the bits the same everywhere


def mean_power(waveform: np.ndarray) -> float:
    """Mean square of ``(samples,)``.

    Squares are summed in float32 within blocks and in float64 over them, so that no pass makes
    float64 copies: the relative error is below 1e-6, a few millionths of a dB.
    """
    if not waveform.size:
        return 0.0
    starts = range(0, len(waveform), _BLOCK)
    blocks = (waveform[start : start + _BLOCK] for start in starts)
    return sum(float(np.dot(block, block)) for block in blocks) / len(waveform)


def add_noise(
    waveform: np.ndarray, noise: np.ndarray, snr_db: float, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Mix noise in at a signal-to-noise ratio: mean power over mean power of all samples, in dB.

    Noise that is digital silence changes nothing. ``out`` takes the result, and may be ``noise``.
    """
    noise_power = mean_power(noise)
    if noise_power == 0.0:
        return waveform
    gain = np.sqrt(mean_power(waveform) / noise_power / 10.0 ** (snr_db / 10.0))
    scaled = np.multiply(noise, np.float32(gain), out=out)
    scaled += waveform
    return scaled


def mix_talkers(talkers: Iterable[np.ndarray], num_samples: int) -> np.ndarray:
    """Babble, float32 ``(samples,)``: talkers at once with the same power, silent ones left out."""
    babble = np.zeros(num_samples, dtype=np.float32)
    for talker in talkers:
        power = mean_power(talker)
        if power > 0.0:
            babble += talker * np.float32(1.0 / np.sqrt(power))
    return babble
