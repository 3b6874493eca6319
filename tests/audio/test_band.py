"""The band of a voice and the holes of codecs, on signals made to have them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import soxr

from mvector.audio import read_audio
from mvector.audio.band import Band, measure_band
from mvector.audio.quality import speech_frames
from mvector.data.augmentation.codec import telephone_line, through_codec
from mvector.shipped import shipped_folder

RATE = 16000


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return read_audio(shipped_folder("samples") / "voice_b" / "1.flac")


def band_of(waveform: np.ndarray, rate: int = RATE) -> Band:
    return measure_band(speech_frames(waveform.astype(np.float32), rate), rate)


def passing(waveform: np.ndarray, edges: list[float], kind: str) -> np.ndarray:
    """Through a filter that is 100 dB down within 100 Hz; its edge is at half the amplitude."""
    taps = scipy.signal.firwin(1601, edges, fs=RATE, pass_zero=kind, window=("kaiser", 10.0))
    return np.convolve(waveform, taps, "same")


def white(length: int, level_db: float) -> np.ndarray:
    return 10 ** (level_db / 20) * np.random.default_rng(0).normal(size=length)


def rms_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform**2)))


def test_a_voice_as_it_was_recorded_fills_the_band(voice: np.ndarray) -> None:
    band = band_of(voice)
    assert band.bandwidth_hz == 8000.0
    assert 50 <= band.low_edge_hz <= 150
    assert band.hole_share < 0.02


@pytest.mark.parametrize("cut", [3400, 4000, 5500, 6000, 7000])
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_the_upper_edge_is_found_whatever_the_level(
    voice: np.ndarray, cut: float, gain: float
) -> None:
    assert band_of(gain * passing(voice, [cut], "lowpass")).bandwidth_hz == pytest.approx(
        cut, abs=150
    )


def test_the_edge_stays_where_it_is_when_noise_fills_the_band(voice: np.ndarray) -> None:
    narrow = passing(voice, [3600], "lowpass")
    noisy = narrow + white(len(narrow), rms_db(narrow) - 20)
    assert band_of(noisy).bandwidth_hz == pytest.approx(3600, abs=450)


def test_rumble_and_hum_are_not_the_strongest_frequency(voice: np.ndarray) -> None:
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(len(voice)) / RATE)
    narrow = passing(voice, [5000], "lowpass")
    assert band_of(narrow + hum).bandwidth_hz == pytest.approx(5000, abs=150)


@pytest.mark.parametrize("cut", [300, 500])
def test_the_lower_edge_is_found(voice: np.ndarray, cut: float) -> None:
    assert band_of(passing(voice, [cut], "highpass")).low_edge_hz == pytest.approx(cut, abs=100)


def test_a_telephone_has_two_edges(voice: np.ndarray) -> None:
    band = band_of(telephone_line(voice, RATE))
    assert 200 <= band.low_edge_hz <= 300
    assert 3400 <= band.bandwidth_hz <= 4000


def test_halves_are_like_the_whole(voice: np.ndarray) -> None:
    narrow = passing(voice, [5500], "lowpass")
    bands = [band_of(part) for part in (narrow, *np.array_split(narrow, 2))]
    assert np.ptp([band.bandwidth_hz for band in bands]) <= 100
    assert np.ptp([band.hole_share for band in bands]) < 0.01


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_holes_are_counted(share: float) -> None:
    """Noise in which cells of 800 Hz and 64 ms were emptied: half of each is hole to all sides."""
    rng = np.random.default_rng(0)
    _, _, spectra = scipy.signal.stft(white(6 * RATE, -20), RATE, nperseg=1024)
    blocks = rng.random((spectra.shape[0] // 51 + 1, spectra.shape[1] // 2 + 1)) < share
    blocks = np.repeat(np.repeat(blocks, 51, axis=0), 2, axis=1)
    full = scipy.signal.istft(spectra, RATE, nperseg=1024)[1]
    holed = scipy.signal.istft(
        np.where(blocks[: spectra.shape[0], : spectra.shape[1]], 1e-4, 1.0) * spectra,
        RATE,
        nperseg=1024,
    )[1]
    assert band_of(full).hole_share < 0.006  # exp(-x) < 10^-2.5 of white noise: 0.3 %
    assert share / 5 < band_of(holed).hole_share < share


def test_mp3_leaves_holes_and_opus_does_not(voice: np.ndarray) -> None:
    natural = band_of(voice).hole_share
    assert band_of(through_codec(voice, RATE, "mp3", 24.0)).hole_share > 3 * natural
    assert band_of(through_codec(voice, RATE, "opus", 16.0)).hole_share < 2 * natural


def test_another_rate_has_another_upper_end(voice: np.ndarray) -> None:
    band = band_of(soxr.resample(voice, RATE, 8000), 8000)
    assert band.bandwidth_hz == pytest.approx(4000, abs=100)
    assert band.low_edge_hz == pytest.approx(band_of(voice).low_edge_hz, abs=50)


def test_silence_and_steady_sounds_have_a_band_too() -> None:
    assert band_of(np.zeros(RATE)) == Band(0.0, 0.0, 0.0)
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert 1000 <= band_of(tone).bandwidth_hz <= 2000
