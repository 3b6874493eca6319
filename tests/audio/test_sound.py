"""Measures are of the sound in a clip: no offset, drift or digital silence has a part in them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from error_codes import raises_code

from mvector.audio import check_speech, level_db, read_audio
from mvector.audio.clip_report import ENROLMENT_FLOOR, TRUSTED, combine_reports, measure_clip
from mvector.audio.level import sound_of
from mvector.audio.microphone import recording_fault
from mvector.audio.quality import clip_quality
from mvector.audio.vad import VadMethod, speech_segments
from mvector.cli.clips import level_meter
from mvector.demo.voices import random_voice, synthesise

RATE = 16000


@pytest.fixture(scope="module")
def good() -> np.ndarray:
    """A voice with its pauses, over weak noise."""
    return synthesise(random_voice(3), 4.0, RATE, seed=3, noise_db=-55.0)


def with_noise(clip: np.ndarray, snr_db: float) -> np.ndarray:
    """White noise so far below the speech of a clip."""
    speech_db = level_db(clip[np.abs(clip) > 0.02])
    noise = np.random.default_rng(0).normal(size=len(clip)) * 10 ** ((speech_db - snr_db) / 20)
    return (clip + noise).astype(np.float32)


def offset(amount: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda clip: (clip + np.float32(amount)).astype(np.float32)


def drift(clip: np.ndarray, hz: float = 5.0) -> np.ndarray:
    """A slow swing as of a cheap input."""
    time_s = np.arange(len(clip)) / RATE
    return (clip + 0.1 * np.sin(2 * np.pi * hz * time_s + 1.0)).astype(np.float32)


def faster_drift(clip: np.ndarray) -> np.ndarray:
    return drift(clip, 12.0)


def zeros_around(clip: np.ndarray) -> np.ndarray:
    return np.pad(clip, (RATE, 3 * RATE))


def zeros_within(clip: np.ndarray) -> np.ndarray:
    """Two seconds of zeros, in pieces between the words."""
    places = [len(clip) * k // 7 for k in range(1, 6)]
    return np.insert(clip, np.repeat(places, 2 * RATE // 5), np.float32(0.0))


def muted_line(clip: np.ndarray) -> np.ndarray:
    """Digital silence as an A-law line has it: constant, and not zero."""
    return np.concatenate([clip, np.full(2 * RATE, 8 / 32768, dtype=np.float32)])


CHANGES = [
    *(pytest.param(offset(amount), id=f"offset {amount}") for amount in (0.01, 0.05, 0.1, 0.3)),
    drift,
    faster_drift,
    zeros_around,
    zeros_within,
    muted_line,
    pytest.param(lambda clip: offset(0.1)(zeros_around(clip)), id="offset and zeros"),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("snr_db", [5.0, 10.0, 40.0])
def test_no_measure_knows_of_offset_drift_and_digital_silence(
    good: np.ndarray, snr_db: float, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    clip = with_noise(0.5 * good, snr_db)
    plain, changed = measure_clip(clip, RATE), measure_clip(change(clip), RATE)
    assert changed.speech_s == pytest.approx(plain.speech_s, abs=0.1)
    assert changed.snr_db == pytest.approx(plain.snr_db, abs=0.5)
    assert changed.level_db == pytest.approx(plain.level_db, abs=0.1)
    assert changed.bandwidth_hz == pytest.approx(plain.bandwidth_hz, abs=100)
    assert changed.clipped_share == plain.clipped_share == 0.0
    assert changed.sound_s == pytest.approx(plain.sound_s, abs=0.05)
    assert changed.low_edge_hz == pytest.approx(plain.low_edge_hz, abs=50)
    assert changed.hole_share == pytest.approx(plain.hole_share, abs=0.005)
    np.testing.assert_array_equal(clip_quality(change(clip), RATE), changed.quality[:2])
    assert recording_fault(change(clip), RATE) is None


def test_the_dither_of_a_loud_clip_has_no_part_in_its_measures(good: np.ndarray) -> None:
    loud = with_noise(0.9 * good / np.abs(good).max(), 40.0)
    steps = np.random.default_rng(1).integers(-1, 2, 3 * RATE) / 32768
    changed = measure_clip(np.concatenate([loud, steps]).astype(np.float32), RATE)
    plain = measure_clip(loud, RATE)
    assert changed.quality == pytest.approx(plain.quality, abs=0.05)
    assert changed.level_db == pytest.approx(plain.level_db, abs=0.05)
    assert changed.sound_s == pytest.approx(plain.sound_s, abs=0.01)


@pytest.mark.parametrize("amount", [0.05, 0.1, 0.3])
def test_a_good_clip_with_an_offset_is_a_good_clip(good: np.ndarray, amount: float) -> None:
    clip = offset(amount)(0.5 * good)
    assert TRUSTED.reasons(measure_clip(clip, RATE)) == ()


def test_zeros_do_not_hide_the_noise_of_a_clip(good: np.ndarray) -> None:
    noisy = with_noise(good, 3.0)
    assert any("noisy" in reason for reason in ENROLMENT_FLOOR.reasons(measure_clip(noisy, RATE)))
    for change in (zeros_around, zeros_within, muted_line):
        reasons = ENROLMENT_FLOOR.reasons(measure_clip(change(noisy), RATE))
        assert any("noisy" in reason for reason in reasons)


@pytest.mark.parametrize("value", [0.0, 0.3, -0.3, 1.0])
def test_a_dead_microphone_is_silent_at_whatever_value(value: float) -> None:
    dead = np.full(2 * RATE, value, dtype=np.float32)
    with raises_code("audio-silent"):
        check_speech(dead, RATE, name="it", min_duration_s=0.5)
    report = measure_clip(dead, RATE)
    assert (report.speech_s, report.level_db, report.sound_s) == (0.0, -np.inf, 0.0)
    assert report.duration_s == 2.0
    assert recording_fault(dead, RATE) == "too quiet"
    assert level_meter(dead[:1600], RATE).startswith(f"[{'-' * 30}]  -99 dB")


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.9])
def test_a_dead_microphone_is_silent_at_whatever_rate(rate: int, value: float) -> None:
    dead = read_audio((np.full(3 * rate, value, dtype=np.float32), rate), RATE)
    with raises_code("audio-silent"):
        check_speech(dead, RATE, name="it", min_duration_s=0.5)


def test_a_drift_or_a_click_alone_is_no_sound() -> None:
    slow = drift(np.zeros(2 * RATE, dtype=np.float32))
    assert sound_of(slow, RATE).level_db < -70.0
    assert sound_of(faster_drift(np.zeros(2 * RATE, dtype=np.float32)), RATE).level_db < -60.0
    click = np.zeros(2 * RATE, dtype=np.float32)
    click[RATE : RATE + 10] = 0.5
    with raises_code("audio-silent"):
        check_speech(click, RATE, name="it", min_duration_s=0.5)


@pytest.mark.parametrize("hz", [60.0, 100.0, 250.0])
def test_no_voice_is_low_enough_to_be_taken_for_drift(hz: float) -> None:
    tone = 0.1 * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)
    assert sound_of(tone, RATE).level_db == pytest.approx(level_db(tone), abs=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_constant_goes_altogether_at_any_rate(rate: int) -> None:
    clip = np.random.default_rng(1).normal(size=rate) * 0.01
    plain, shifted = sound_of(clip, rate), sound_of(clip + 0.4, rate)
    assert shifted.level_db == pytest.approx(plain.level_db, abs=0.01)


def test_a_thump_is_not_smeared_into_the_pauses_beside_it() -> None:
    noise = 1e-4 * np.random.default_rng(2).normal(size=2 * RATE)
    thump = noise.copy()
    thump[RATE : RATE + 800] += 0.5 * np.hanning(800)  # 50 ms, most of it below 20 Hz
    quiet = sound_of(thump, RATE).samples[: RATE - 320]
    assert level_db(quiet) <= level_db(noise[: RATE - 320]) + 0.01


def test_the_noise_of_one_step_is_sound_where_there_is_nothing_louder() -> None:
    """Beside speech it is what dither or a codec put where nothing was."""
    steps = np.random.default_rng(3).integers(-1, 2, RATE) / 32768
    assert len(sound_of(steps, RATE).samples) == RATE


def test_sound_keeps_its_place(good: np.ndarray) -> None:
    clip = zeros_within(good)
    sound = sound_of(clip, RATE)
    assert len(sound.placed) == len(clip)
    np.testing.assert_allclose(sound.samples, sound_of(good, RATE).samples, atol=1e-6)
    assert level_db(sound.placed - clip) < level_db(clip) - 30.0


@pytest.mark.parametrize("change", [offset(0.1), offset(0.3), drift])
@pytest.mark.parametrize(("method", "package"), [("energy", "librosa"), ("silero", "silero_vad")])
def test_both_detectors_keep_the_same_stretches(
    good: np.ndarray, change: Callable[[np.ndarray], np.ndarray], method: VadMethod, package: str
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs {package}")
    clip = np.concatenate([good, np.zeros(RATE, np.float32), good])
    plain, changed = (
        speech_segments(clip, RATE, method),
        speech_segments(change(clip), RATE, method),
    )
    assert len(plain) >= 2
    np.testing.assert_allclose(np.array(changed), np.array(plain), atol=0.1 * RATE)


def test_the_report_on_stretches_is_that_of_their_sound(good: np.ndarray) -> None:
    parts = [good, np.zeros(len(good), np.float32), zeros_around(good)]
    combined = combine_reports([measure_clip(part, RATE) for part in parts])
    whole = measure_clip(good, RATE)
    assert combined.level_db == pytest.approx(whole.level_db, abs=0.01)
    assert combined.snr_db == pytest.approx(whole.snr_db, abs=0.01)
    assert combined.sound_s == pytest.approx(2 * whole.sound_s, abs=0.05)
    assert combined.duration_s == pytest.approx(3 * len(good) / RATE + 4.0)
