"""Speed perturbation: pitch, length and the purity of the filter; one result for any threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from mvector.data.augmentation.speed import change_speed, resample

RATE = 16000


def tone(frequency_hz: float, num_samples: int = 2 * RATE) -> np.ndarray:
    phase = 2 * np.pi * frequency_hz * np.arange(num_samples) / RATE
    return np.sin(phase).astype(np.float32)


def levels_db(waveform: np.ndarray, edge: int = 500) -> np.ndarray:
    """Magnitudes of sines in a waveform, 0 dB for an amplitude of 1; its ends are left out."""
    inner = waveform[edge:-edge].astype(np.float64)
    window = np.kaiser(len(inner), 18.0)
    return 20 * np.log10(np.abs(np.fft.rfft(inner * window)) * 2 / window.sum() + 1e-9)


@pytest.mark.parametrize("speed", [0.9, 1.1])
@pytest.mark.parametrize("frequency_hz", [100, 1000, 3000, 6000])
def test_a_tone_moves_by_the_factor_keeps_its_level_and_brings_nothing_else(
    speed: float, frequency_hz: int
) -> None:
    found = change_speed(tone(frequency_hz), speed)
    levels = levels_db(found)
    bins_hz = np.linspace(0, RATE / 2, len(levels))
    wanted = np.abs(bins_hz - frequency_hz * speed) < 20
    assert levels[~wanted].max() < -60
    inner = found[1000:-1000].astype(np.float64)
    assert np.sqrt(2 * np.mean(inner**2)) == pytest.approx(1.0, abs=0.005)


def test_what_would_be_above_the_nyquist_frequency_does_not_come_back_as_an_alias() -> None:
    faster = change_speed(tone(7700), 1.1)  # would be 8470 Hz
    assert levels_db(faster).max() < -60


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_agrees_with_a_polyphase_resampler_of_float64(speed: float) -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(size=RATE))
    spectrum[5000:] = 0  # both filters pass what lies below 5 kHz
    waveform = np.fft.irfft(spectrum, RATE)
    up, down = (10, 9) if speed == 0.9 else (10, 11)
    expected = resample_poly(waveform, up, down, window=("kaiser", 12.0))
    found = change_speed(waveform.astype(np.float32), speed)
    inner = slice(300, -300)
    error = found[inner] - expected[: len(found)][inner]
    assert np.abs(error).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("num_samples", [1, 10, 479, 480, 43200, 43201])
def test_the_length_is_the_clips_divided_by_the_speed(num_samples: int) -> None:
    for speed in (0.9, 1.1):
        found = change_speed(np.ones(num_samples, dtype=np.float32), speed)
        assert found.dtype == np.float32
        assert abs(len(found) - num_samples / speed) <= 0.5


def test_a_constant_stays_a_constant() -> None:
    found = change_speed(np.full(RATE, 0.5, dtype=np.float32), 0.9)
    np.testing.assert_allclose(found[200:-200], 0.5, atol=1e-6)


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    waveform = np.random.default_rng(0).normal(size=3 * RATE).astype(np.float32)
    alone = change_speed(waveform, 0.9)
    try:
        torch.set_num_threads(3)
        assert np.array_equal(change_speed(waveform, 0.9), alone)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_resampling_to_half_the_rate_and_back_keeps_the_low_half() -> None:
    waveform = tone(1000)
    back = resample(resample(waveform, 1, 2), 2, 1)
    np.testing.assert_allclose(back[300:-300], waveform[300:-300], atol=2e-3)
