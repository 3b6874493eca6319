"""Narrower bands: a steep low-pass, and a lower sample rate by resamplers good and bad."""

from __future__ import annotations

import numpy as np
import soxr

from mvector.data.augmentation.spectrum import bins_hz, scale_spectrum

LOWER_RATES = (8000, 11025, 12000, 22050)
# soxr's, from cubic interpolation without a filter against aliases to the best
RESAMPLERS = ("QQ", "LQ", "MQ", "HQ")
_SKIRT_HZ = 200.0  # over which a low-pass falls


def low_pass(waveform: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Keep what lies below a frequency: flat to 100 Hz below it, gone from 100 Hz above it on.

    At the cutoff itself half the amplitude is left.
    """
    frequencies_hz = bins_hz(len(waveform), sample_rate)
    edges_hz = (cutoff_hz - _SKIRT_HZ / 2, cutoff_hz + _SKIRT_HZ / 2)
    low, high = np.searchsorted(frequencies_hz, edges_hz)
    gains = np.zeros(len(frequencies_hz), np.float32)
    gains[:low] = 1.0
    gains[low:high] = 0.5 + 0.5 * np.cos(
        np.pi / _SKIRT_HZ * (frequencies_hz[low:high] - edges_hz[0])
    )
    return scale_spectrum(waveform, gains)


def by_lower_rate(
    waveform: np.ndarray, sample_rate: int, lower_rate: int, resampler: str
) -> np.ndarray:
    """Down to a lower sample rate in Hz and up again, by one of :data:`RESAMPLERS`."""
    slow = soxr.resample(waveform, sample_rate, lower_rate, quality=resampler)
    back = soxr.resample(slow, lower_rate, sample_rate, quality=resampler)
    return to_length(back.astype(np.float32, copy=False), len(waveform))


def to_length(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    """The first samples, with zeros behind them where they are too few."""
    return np.pad(waveform, (0, max(0, num_samples - len(waveform))))[:num_samples]
