"""Transmission: the telephone's band, G.711, mp3 and Opus."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, correlate, sosfiltfilt

from mvector.config import AugmentConf, ConfigError
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.codec import mu_law, telephone_band, telephone_line, through_file

RATE = 16000


def tones(frequencies_hz: list[float], rate: int = RATE, amplitude: float = 0.05) -> np.ndarray:
    times = np.arange(2 * rate) / rate
    return amplitude * sum(np.sin(2 * np.pi * hz * times) for hz in frequencies_hz)


def amplitudes(waveform: np.ndarray, frequencies_hz: list[float], rate: int = RATE) -> np.ndarray:
    inner = waveform[rate // 2 : rate // 2 + rate]  # a second: bins of 1 Hz
    return np.abs(np.fft.rfft(inner))[frequencies_hz] * 2 / rate


def speechlike(seed: int = 0, num_samples: int = 3 * RATE) -> np.ndarray:
    """Noise of 100 Hz to 3 kHz whose level rises and falls like syllables."""
    rng = np.random.default_rng(seed)
    band = butter(2, (100, 3000), "bandpass", fs=RATE, output="sos")
    noise = sosfiltfilt(band, rng.normal(size=num_samples))
    envelope = 1.1 + np.sin(2 * np.pi * 4 * np.arange(num_samples) / RATE)
    return (0.2 * envelope * noise).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_the_telephone_passes_300_to_3400_hz_and_nothing_else(rate: int) -> None:
    inside, outside = [300, 1000, 2500, 3400], [60, 140, 3560, 3900]
    found = telephone_band(tones(inside + outside, rate).astype(np.float32), rate)
    np.testing.assert_allclose(amplitudes(found, inside, rate), 0.05, rtol=0.012)  # 0.1 dB
    assert amplitudes(found, outside, rate).max() < 0.05e-3  # 60 dB down
    kept = tones(inside, rate)
    np.testing.assert_allclose(found[2000:-2000], kept[2000:-2000], atol=5e-3)  # in its place


def test_mu_law_is_that_of_libsndfile_for_every_16_bit_value() -> None:
    values = np.arange(-32768, 32768).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, values, 8000, format="WAV", subtype="ULAW")
    buffer.seek(0)
    expected = soundfile.read(buffer, dtype="float32")[0]
    np.testing.assert_array_equal(mu_law(values / np.float32(32768)), expected)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_a_telephone_line_has_the_band_and_the_noise_of_mu_law(rate: int) -> None:
    inside, outside = [440, 1000, 2000], [100, 3700]
    waveform = tones(inside + outside, rate, 0.1).astype(np.float32)
    found = telephone_line(waveform, rate)
    assert found.shape == waveform.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(amplitudes(found, inside, rate), 0.1, rtol=0.02)
    clean = tones(inside, rate, 0.1)[2000:-2000]
    noise = found[2000:-2000] - clean
    snr_db = 10 * np.log10(np.mean(clean**2) / np.mean(noise**2))
    assert 30 < snr_db < 45  # 8 bits of mu-law give about 38 dB at any level


def test_what_exceeds_full_scale_is_not_clipped() -> None:
    waveform = (8 * tones([440, 1000], amplitude=0.5)).astype(np.float32)
    found = telephone_line(waveform, RATE)
    np.testing.assert_allclose(amplitudes(found, [440, 1000]), 4.0, rtol=0.02)


@pytest.mark.parametrize("kind", ["mp3", "opus"])
@pytest.mark.parametrize("num_samples", [RATE, 20011])
def test_a_file_codec_keeps_length_and_place_and_changes_the_rest(
    kind: str, num_samples: int
) -> None:
    speech = speechlike(num_samples=num_samples)
    coded = through_file(speech, RATE, kind, 0.9)
    assert coded.shape == speech.shape
    assert coded.dtype == np.float32
    likeness = correlate(coded, speech)
    assert np.argmax(likeness) == num_samples - 1  # lag 0
    assert not np.allclose(coded, speech, atol=1e-3)
    assert likeness.max() > 0.8 * np.sqrt(np.sum(coded**2.0) * np.sum(speech**2.0))


def test_more_compression_leaves_less_of_the_speech() -> None:
    speech = speechlike(num_samples=RATE)
    errors = [
        np.mean((through_file(speech, RATE, "opus", level) - speech) ** 2.0)
        for level in (0.5, 0.95)
    ]
    assert errors[0] < 0.5 * errors[1]


def sent(weights: dict[str, float], rate: int = RATE) -> WaveformAugmentor:
    every = {"telephone": 0, "mu_law": 0, "mp3": 0, "opus": 0, **weights}
    return WaveformAugmentor(AugmentConf.model_validate({"codec": {"prob": 1, **every}}), rate)


def test_each_kind_is_drawn_as_often_as_its_weight_says() -> None:
    speech = speechlike(num_samples=4000)
    augmentor, rng = sent({"telephone": 3.0, "mu_law": 1.0}), np.random.default_rng(0)
    found = {
        telephone_band(speech, RATE).tobytes(): 0,
        telephone_line(speech, RATE).tobytes(): 0,
    }
    for _ in range(400):
        found[augmentor(speech, rng).tobytes()] += 1
    assert list(found.values()) == pytest.approx([300, 100], abs=40)


@pytest.mark.parametrize("kind", ["mp3", "opus"])
def test_a_kind_with_all_the_weight_is_the_only_one(kind: str) -> None:
    speech = speechlike(num_samples=4000)
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    coded = sent({kind: 1.0})(speech, rng)
    same.random(2)  # whether, and which kind
    np.testing.assert_array_equal(coded, through_file(speech, RATE, kind, same.uniform(0.8, 0.95)))


def test_a_codec_that_does_not_know_the_rate_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"codec\.opus does not go with 22050 Hz"):
        sent({"opus": 1.0}, 22050)
    with pytest.raises(ConfigError, match=r"codec\.telephone does not go with 4000 Hz"):
        sent({"telephone": 1.0}, 4000)


def test_no_kind_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="are all 0; to turn it off set prob 0"):
        sent({})
