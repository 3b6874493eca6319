"""Another microphone: a slope over the whole spectrum, and bands that are louder or fainter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvector.config.augment_options import EqualizerConf
from mvector.data.augmentation.noise import mean_power
from mvector.data.augmentation.spectrum import bins_hz, scale_spectrum

_PIVOT_HZ = 1000.0  # where a slope changes nothing
_LOWEST_HZ = 80.0  # below it a slope goes on level
_HIGHEST = 0.45  # a band's centre is at most this share of the sample rate


class Band(NamedTuple):
    """A peaking band: its centre, the gain there, and how narrow it is."""

    center_hz: float
    gain_db: float
    q: float


def equalize(
    waveform: np.ndarray, sample_rate: int, config: EqualizerConf, rng: np.random.Generator
) -> np.ndarray:
    """Give a crop ``(samples,)`` the frequency response of another microphone; its power stays."""
    slope_db = rng.uniform(config.min_slope_dB, config.max_slope_dB)
    num_bands = int(rng.integers(config.min_bands, config.max_bands + 1))
    bands = [_draw_band(sample_rate, config, rng) for _ in range(num_bands)]
    frequencies_hz = bins_hz(len(waveform), sample_rate)
    gains = equalizer_gains(frequencies_hz, sample_rate, slope_db, bands)
    result = scale_spectrum(waveform, gains.astype(np.float32))
    power = mean_power(result)
    return result * np.float32(np.sqrt(mean_power(waveform) / power)) if power > 0 else waveform


def equalizer_gains(
    frequencies_hz: np.ndarray, sample_rate: int, slope_db: float, bands: list[Band]
) -> np.ndarray:
    """Amplitude response of a slope in dB per octave and of peaking bands.

    A band has the response of the biquad in R. Bristow-Johnson's "Cookbook formulae for audio EQ
    biquad filter coefficients": that of ``(s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1)`` under the
    bilinear transform. Its phase is left out, so that nothing moves.
    """
    octaves = np.log2(np.maximum(frequencies_hz, _LOWEST_HZ) / _PIVOT_HZ)
    gains = 10.0 ** (slope_db / 20.0 * octaves)
    # just below half the sample rate, where the tangent has its pole
    tangents = np.tan(np.minimum(np.pi * frequencies_hz / sample_rate, 0.4999 * np.pi))
    for band in bands:
        squares = (tangents / np.tan(np.pi * band.center_hz / sample_rate)) ** 2
        amplitude = 10.0 ** (band.gain_db / 40.0)
        away = (1.0 - squares) ** 2
        above, below = squares * (amplitude / band.q) ** 2, squares / (amplitude * band.q) ** 2
        gains *= np.sqrt((away + above) / (away + below))
    return gains


def _draw_band(sample_rate: int, config: EqualizerConf, rng: np.random.Generator) -> Band:
    """Centres are as frequent in every octave."""
    center_hz = np.exp(rng.uniform(np.log(_LOWEST_HZ), np.log(_HIGHEST * sample_rate)))
    gain_db = rng.uniform(config.min_gain_dB, config.max_gain_dB)
    return Band(float(center_hz), gain_db, rng.uniform(config.min_q, config.max_q))
