"""Transmission: the telephone's band, narrow bands, and codecs of libsndfile and FFmpeg."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, correlate, sosfiltfilt

from mvector.config import AugmentConf, ConfigError
from mvector.config.augment_options import CODEC_KINDS
from mvector.data.augmentation import media_codecs
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.bands import RESAMPLERS, by_lower_rate, low_pass
from mvector.data.augmentation.codec import (
    mu_law,
    telephone_band,
    telephone_line,
    through_codec,
)
from mvector.errors import MissingDependencyError

RATE = 16000
VOICE = Path(__file__).parents[2] / "dataset/samples/voice_a/1.flac"


def tones(frequencies_hz: Sequence[float], rate: int = RATE, amplitude: float = 0.05) -> np.ndarray:
    times = np.arange(2 * rate) / rate
    return amplitude * sum(np.sin(2 * np.pi * hz * times) for hz in frequencies_hz)


def amplitudes(
    waveform: np.ndarray, frequencies_hz: Sequence[float], rate: int = RATE
) -> np.ndarray:
    inner = waveform[rate // 2 : rate // 2 + rate]  # a second: bins of 1 Hz
    return np.abs(np.fft.rfft(inner))[list(frequencies_hz)] * 2 / rate


def speechlike(seed: int = 0, num_samples: int = 3 * RATE) -> np.ndarray:
    """Noise of 100 Hz to 3 kHz whose level rises and falls like syllables."""
    rng = np.random.default_rng(seed)
    band = butter(2, (100, 3000), "bandpass", fs=RATE, output="sos")
    noise = sosfiltfilt(band, rng.normal(size=num_samples))
    envelope = 1.1 + np.sin(2 * np.pi * 4 * np.arange(num_samples) / RATE)
    return (0.2 * envelope * noise).astype(np.float32)


def voice(num_samples: int = RATE) -> np.ndarray:
    """Somebody who speaks, below 3 kHz: codecs of few bits know nothing else."""
    samples = low_pass(soundfile.read(VOICE, dtype="float32")[0], RATE, 3000.0)
    return samples[RATE // 2 : RATE // 2 + num_samples]


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


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_low_pass_keeps_what_is_below_its_cutoff_in_its_place(rate: int) -> None:
    inside, outside = [60, 1000, 3390], [3610, 3900]
    found = low_pass(tones(inside + outside, rate).astype(np.float32), rate, 3500.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(amplitudes(found, inside, rate), 0.05, rtol=0.01)
    assert amplitudes(found, outside, rate).max() < 0.05e-3  # 60 dB down
    np.testing.assert_allclose(found[2000:-2000], tones(inside, rate)[2000:-2000], atol=1e-3)
    assert amplitudes(low_pass(tones([3500]).astype(np.float32), RATE, 3500.0), [3500]) == (
        pytest.approx(0.025, rel=0.02)
    )


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("lower_rate", [8000, 11025, 12000])
def test_a_lower_sample_rate_takes_what_is_above_half_of_it(
    lower_rate: int, resampler: str
) -> None:
    inside, outside = [300, 1000, 2000], [round(0.6 * lower_rate), 7500]
    found = by_lower_rate(tones(inside + outside).astype(np.float32), RATE, lower_rate, resampler)
    assert found.shape == (2 * RATE,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(amplitudes(found, inside), 0.05, rtol=0.1)
    highest = 0.6 if resampler == "QQ" else 0.01  # which lets aliases and images pass
    assert amplitudes(found, outside).max() < 0.05 * highest
    speech = speechlike(num_samples=20011)
    likeness = correlate(by_lower_rate(speech, RATE, lower_rate, resampler), speech)
    assert np.argmax(likeness) == len(speech) - 1  # lag 0


CODECS = [
    *(("gsm", 13), ("mp3", 16), ("mp3", 24), ("mp3", 64), ("opus", 6), ("opus", 32)),
    *(("aac", 12), ("aac", 48), ("amr", 4.75), ("amr", 12.2), ("g722", 64)),
]


@pytest.mark.parametrize(("kind", "kbps"), CODECS)
@pytest.mark.parametrize("num_samples", [RATE, 20011])
def test_a_codec_keeps_length_place_and_level_and_changes_the_rest(
    kind: str, kbps: float, num_samples: int
) -> None:
    if kind in ("aac", "amr", "g722"):
        pytest.importorskip("av")
    speech = voice(num_samples)
    coded = through_codec(speech, RATE, kind, kbps)
    assert coded.shape == speech.shape
    assert coded.dtype == np.float32
    likeness = correlate(coded, speech)
    shift = int(np.argmax(likeness)) - (num_samples - 1)
    assert abs(shift) <= (3 if kind == "amr" else 1)  # AMR's filters turn phases
    assert not np.allclose(coded, speech, atol=1e-3)
    assert likeness.max() > 0.5 * np.sqrt(np.sum(coded**2.0) * np.sum(speech**2.0))
    assert abs(10 * np.log10(np.mean(coded**2.0) / np.mean(speech**2.0))) < 3.0
    last = slice(-400, None)  # the end is coded like the rest
    assert np.mean(coded[last] ** 2.0) > 0.1 * np.mean(speech[last] ** 2.0)
    np.testing.assert_array_equal(through_codec(speech, RATE, kind, kbps), coded)


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
@pytest.mark.parametrize(("kind", "kbps"), [("mp3", 32), ("gsm", 13), ("aac", 24), ("g722", 64)])
def test_a_codec_keeps_the_place_at_other_rates(kind: str, kbps: float, rate: int) -> None:
    if kind in ("aac", "g722"):
        pytest.importorskip("av")
    speech = voice(20011)
    coded = through_codec(speech, rate, kind, kbps)
    assert abs(int(np.argmax(correlate(coded, speech))) - 20010) <= 1


def test_a_codec_does_not_clip_what_exceeds_full_scale() -> None:
    loud = 20 * speechlike(num_samples=RATE)
    coded = through_codec(loud, RATE, "gsm")
    assert np.mean(coded**2.0) == pytest.approx(np.mean(loud**2.0), rel=0.3)


@pytest.mark.parametrize(("kind", "kbps"), [("mp3", (16, 32, 64)), ("opus", (6, 16, 32))])
def test_files_have_the_bit_rate_that_was_asked_for(
    kind: str, kbps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    read = soundfile.read

    def measured(buffer: io.BytesIO, **options: str) -> tuple[np.ndarray, int]:
        sizes.append(buffer.getbuffer().nbytes)
        return read(buffer, **options)

    speech = voice(3 * RATE)
    monkeypatch.setattr(soundfile, "read", measured)
    for wanted in kbps:
        through_codec(speech, RATE, kind, wanted)
    # Opus gives every frame what it needs, and Ogg adds its own
    rel, abs_kbps = (0.05, 0.5) if kind == "mp3" else (0.25, 3.0)
    found = [size * 8 / 3 / 1000 for size in sizes]
    assert found == pytest.approx(kbps, rel=rel, abs=abs_kbps)


def test_more_bits_leave_more_of_the_speech() -> None:
    speech = speechlike(num_samples=RATE)
    errors = [
        np.mean((through_codec(speech, RATE, "opus", kbps) - speech) ** 2.0) for kbps in (64, 18)
    ]
    assert errors[0] < 0.5 * errors[1]


def sent(weights: dict[str, float], rate: int = RATE) -> WaveformAugmentor:
    every = {**dict.fromkeys(CODEC_KINDS, 0), **weights}
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
    kbps = same.uniform(*{"mp3": (16, 64), "opus": (6, 32)}[kind])
    np.testing.assert_array_equal(coded, through_codec(speech, RATE, kind, kbps))


@pytest.mark.parametrize("kind", CODEC_KINDS)
def test_every_kind_is_a_function_of_the_generator(kind: str) -> None:
    if kind in ("aac", "amr", "g722"):
        pytest.importorskip("av")
    speech = speechlike(num_samples=8000)
    speech.setflags(write=False)
    found = [sent({kind: 1.0})(speech, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    is_random = kind not in ("telephone", "mu_law", "gsm", "g722")
    assert np.array_equal(found[0], found[2]) != is_random


@pytest.mark.parametrize(
    ("kind", "rate", "told"),
    [
        ("opus", 22050, r"codec\.opus does not go with 22050 Hz"),
        ("telephone", 4000, r"codec\.telephone does not go with 4000 Hz"),
        ("gsm", 4000, r"codec\.gsm does not go with 4000 Hz"),
        ("aac", 10000, r"codec\.aac does not go with 10000 Hz"),
        ("sample_rate", 8000, "which is not above the lowest rate, 8000 Hz; set its weight to 0"),
        ("low_pass", 8000, "whose half is below max_cutoff_hz; lower that"),
    ],
)
def test_a_kind_that_does_not_go_with_the_rate_is_refused_by_name(
    kind: str, rate: int, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        sent({kind: 1.0}, rate)


@pytest.mark.parametrize("kind", ["aac", "amr", "g722"])
def test_a_kind_that_needs_pyav_says_so_at_the_start(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError) as caught:
        sent({kind: 1.0})
    assert f"augment_conf.codec.{kind} needs PyAV: pip install av" in str(caught.value)
    assert "the extra 'media'" in str(caught.value)
    sent({"telephone": 1.0})  # and nobody else does


def test_an_encoder_that_ffmpeg_lacks_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("av")
    codecs = {"amr": media_codecs._CODECS["amr"]._replace(name="nosuchcodec")}
    monkeypatch.setattr(media_codecs, "_CODECS", codecs)
    with pytest.raises(MissingDependencyError) as caught:
        sent({"amr": 1.0})
    assert "augment_conf.codec.amr needs FFmpeg's codec nosuchcodec" in str(caught.value)


def test_no_kind_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="weights of all kinds are 0; to turn it off set prob 0"):
        sent({})
