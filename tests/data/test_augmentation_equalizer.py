"""Another microphone: a slope and peaking bands, against the biquads that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import correlate, freqz

from mvector.config.augment_options import EqualizerConf
from mvector.data.augmentation.equalizer import Band, equalize, equalizer_gains

RATE = 16000


def biquad(band: Band) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of the peaking filter of the "Cookbook formulae for audio EQ"."""
    amplitude = 10 ** (band.gain_db / 40)
    angle = 2 * np.pi * band.center_hz / RATE
    alpha = np.sin(angle) / (2 * band.q)
    above = np.array([1 + alpha * amplitude, -2 * np.cos(angle), 1 - alpha * amplitude])
    below = np.array([1 + alpha / amplitude, -2 * np.cos(angle), 1 - alpha / amplitude])
    return above, below


@pytest.mark.parametrize(
    "bands",
    [
        [Band(300.0, 8.0, 0.5)],
        [Band(7200.0, -8.0, 2.0)],
        [Band(90.0, -6.0, 1.0), Band(1000.0, 5.0, 2.0), Band(5000.0, 8.0, 0.7)],
    ],
)
def test_bands_have_the_response_of_biquads(bands: list[Band]) -> None:
    frequencies = np.linspace(0, 7999, 500)
    expected = np.ones(500)
    for band in bands:
        expected *= np.abs(freqz(*biquad(band), worN=frequencies, fs=RATE)[1])
    found = equalizer_gains(frequencies, RATE, 0.0, bands)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_slope_is_so_many_db_per_octave_and_nothing_at_1_khz() -> None:
    gains = equalizer_gains(np.array([0.0, 80, 500, 1000, 2000, 8000]), RATE, 3.0, [])
    expected_db = [3 * np.log2(0.08)] * 2 + [-3, 0, 3, 9]
    np.testing.assert_allclose(20 * np.log10(gains), expected_db, atol=1e-9)


def test_the_gain_at_every_frequency_is_that_of_the_drawn_microphone() -> None:
    """An impulse shows the response; the power that is kept divides it by a constant."""
    config = EqualizerConf(prob=1, min_slope_dB=-3, max_slope_dB=-3, min_bands=1, max_bands=1)
    config = config.model_copy(update={"min_gain_dB": 6.0, "max_gain_dB": 6.0})
    impulse = np.zeros(2 * RATE, np.float32)
    impulse[RATE] = 1.0
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    found = np.abs(np.fft.rfft(equalize(impulse, RATE, config, rng)))
    same.random()  # the slope
    same.integers(1, 2)
    center_hz = np.exp(same.uniform(np.log(80), np.log(0.45 * RATE)))
    same.random()
    band = Band(center_hz, 6.0, same.uniform(config.min_q, config.max_q))
    frequencies = np.arange(len(found)) / 2.0
    peak = np.abs(freqz(*biquad(band), worN=frequencies, fs=RATE)[1])
    slope = 10 ** (-3 * np.log2(np.maximum(frequencies, 80) / 1000) / 20)
    ratio = found / (peak * slope)
    np.testing.assert_allclose(ratio, ratio[2000], rtol=0.01)


def test_power_and_place_of_the_crop_stay_and_no_two_microphones_are_the_same() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=20011).astype(np.float32)
    found = [equalize(noise, RATE, EqualizerConf(prob=1), rng) for _ in range(10)]
    for heard in found:
        assert heard.dtype == np.float32
        assert heard.shape == noise.shape
        assert np.mean(heard**2.0) == pytest.approx(np.mean(noise**2.0), rel=1e-4)
        assert np.argmax(correlate(heard, noise)) == len(noise) - 1  # lag 0
    spectra = [np.abs(np.fft.rfft(heard))[100:-100] for heard in found]
    levels_db = 20 * np.log10(np.array(spectra) / np.abs(np.fft.rfft(noise))[100:-100])
    assert 2 < np.std(levels_db, axis=0).mean() < 10


def test_digital_silence_stays_so() -> None:
    zeros = np.zeros(4000, np.float32)
    config, rng = EqualizerConf(prob=1), np.random.default_rng(0)
    np.testing.assert_array_equal(equalize(zeros, RATE, config, rng), zeros)
