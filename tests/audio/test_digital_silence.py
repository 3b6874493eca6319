"""Digital silence is found to the sample, whatever left it, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.audio.silence import digital_silence, drop_digital_silence
from mvector.demo.voices import random_voice, synthesise

RATE = 16000


@pytest.fixture(scope="module")
def good() -> np.ndarray:
    """A voice with its pauses, over weak noise."""
    return synthesise(random_voice(3), 3.0, RATE, seed=3, noise_db=-55.0)


def dither(duration_s: float, steps: int = 1) -> np.ndarray:
    """Noise of so many 16-bit steps to either side."""
    rng = np.random.default_rng(0)
    return (rng.integers(-steps, steps + 1, round(duration_s * RATE)) / 32768).astype(np.float32)


def flat(duration_s: float, value: float = 0.0) -> np.ndarray:
    return np.full(round(duration_s * RATE), value, dtype=np.float32)


@pytest.mark.parametrize("value", [0.0, 8 / 32768, -0.3])
@pytest.mark.parametrize("place", [0, 7, 16001, 48000])
@pytest.mark.parametrize("duration_s", [0.2, 0.2137, 3.0])
def test_what_stands_still_is_cut_out_to_the_sample(
    good: np.ndarray, value: float, place: int, duration_s: float
) -> None:
    clip = np.insert(good, place, flat(duration_s, value))
    np.testing.assert_array_equal(drop_digital_silence(clip, RATE), good)


def test_several_stretches_are_found_in_order(good: np.ndarray) -> None:
    clip = np.concatenate([flat(0.5), good, flat(0.3), good, flat(1.0)])
    ends = np.cumsum([0, 8000, len(good), 4800, len(good), 16000]).tolist()
    assert digital_silence(clip, RATE) == [
        (ends[0], ends[1]),
        (ends[2], ends[3]),
        (ends[4], ends[5]),
    ]


def test_a_stretch_of_less_than_a_fifth_of_a_second_stays(good: np.ndarray) -> None:
    clip = np.insert(good, 20000, flat(0.19))
    assert len(drop_digital_silence(clip, RATE)) == len(clip)
    assert digital_silence(clip, RATE) == [(20000, 20000 + 3040)]


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_at_the_ends_a_few_milliseconds_are_enough(good: np.ndarray, value: float) -> None:
    """They may be what is left of a longer stretch, where a window or a crop was cut."""
    clip = np.concatenate([flat(0.005, value), good, flat(0.1, value)])
    np.testing.assert_array_equal(drop_digital_silence(clip, RATE), good)
    clip = np.concatenate([flat(0.0045, value), good])
    assert len(drop_digital_silence(clip, RATE)) == len(clip)


def test_the_dither_of_a_loud_clip_is_silence_and_that_of_a_quiet_one_is_not(
    good: np.ndarray,
) -> None:
    loud = good / np.abs(good).max()
    heard = drop_digital_silence(np.concatenate([loud, dither(2.0)]), RATE)
    assert abs(len(heard) - len(loud)) <= 2
    quiet = np.concatenate([0.1 * loud, dither(2.0)])
    assert len(drop_digital_silence(quiet, RATE)) == len(quiet)


@pytest.mark.parametrize("below_db", [88.0, 80.0])
def test_the_limit_lies_84_dB_below_the_peak(good: np.ndarray, below_db: float) -> None:  # noqa: N802
    hum = np.sin(2 * np.pi * 200.0 * np.arange(2 * RATE) / RATE) * 10 ** (-below_db / 20)
    peak = 0.5 * np.ptp(good[np.abs(good).argmax() - 120 :][:240])
    clip = np.concatenate([good, (peak * hum).astype(np.float32)])
    assert len(drop_digital_silence(clip, RATE)) == pytest.approx(
        len(good) if below_db > 84.0 else len(clip), abs=100
    )


@pytest.mark.parametrize("offset", [0.1, -0.5])
def test_an_offset_has_no_part_in_the_peak(good: np.ndarray, offset: float) -> None:
    clip = np.concatenate([0.3 * good, dither(1.0, steps=2)]) + np.float32(offset)
    assert len(drop_digital_silence(clip, RATE)) == len(clip)


def test_silence_alone_is_dropped_altogether() -> None:
    for clip in (flat(1.0), flat(0.5, 0.7)):
        assert drop_digital_silence(clip, RATE).shape == (0,)


@pytest.mark.parametrize("num_samples", [0, 1, 79, 239, 241])
def test_a_clip_of_a_few_samples_holds_none(num_samples: int) -> None:
    assert digital_silence(np.zeros(num_samples, np.float32), RATE) == []


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_it_is_found_at_any_rate(rate: int) -> None:
    noise = np.random.default_rng(1).normal(size=rate).astype(np.float32) * 0.1
    clip = np.insert(noise, rate // 3, np.zeros(rate // 2, np.float32))
    np.testing.assert_array_equal(drop_digital_silence(clip, rate), noise)


def test_speech_and_steady_sounds_are_none(good: np.ndarray) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 60.0 * np.arange(2 * RATE) / RATE)
    for clip in (good, tone, dither(1.0)):
        assert digital_silence(clip, RATE) == []
