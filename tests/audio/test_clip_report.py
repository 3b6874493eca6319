"""What is wrong with a clip, in words, on signals whose faults are known."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import soxr

from mvector.audio.clip_report import (
    ENROLMENT_FLOOR,
    TRUSTED,
    ClipReport,
    QualityLimits,
    combine_reports,
    measure_clip,
)

RATE = 16000


def bursts(num_bursts: int = 5, level: float = 0.1, noise: float = 1e-4, seed: int = 0):
    """Bursts of white noise of 0.4 s with pauses of 0.3 s, over weak noise."""
    generator = np.random.default_rng(seed)
    on = np.concatenate([np.zeros(round(0.3 * RATE)), np.ones(round(0.4 * RATE))] * num_bursts)
    samples = level * generator.normal(size=len(on)) * on
    return (samples + noise * generator.normal(size=len(on))).astype(np.float32)


def reasons(waveform: np.ndarray) -> tuple[str, ...]:
    return TRUSTED.reasons(measure_clip(waveform, RATE))


def test_a_good_clip_has_no_reasons() -> None:
    assert reasons(bursts()) == ()
    assert ENROLMENT_FLOOR.reasons(measure_clip(bursts(), RATE)) == ()


def test_little_speech_is_told_in_seconds() -> None:
    quiet = 1e-4 * np.random.default_rng(1).normal(size=3 * RATE).astype(np.float32)
    clip = np.concatenate([bursts(2), quiet])
    assert reasons(clip) == ("only 0.8 s of speech in 4.4 s",)


def test_noise_is_told_in_decibels() -> None:
    (reason,) = reasons(bursts(noise=0.05))
    assert re.fullmatch(r"noisy \(signal-to-noise ratio about [567] dB\)", reason)


def test_clipping_is_told_as_a_share() -> None:
    clip = np.clip(bursts(level=0.6), -1, 1)
    share = 100 * np.mean(np.abs(clip) >= 0.985)
    assert reasons(clip) == (f"clipped ({share:.1f} % of it at full scale)",)
    assert reasons(bursts(level=0.2)) == ()


def test_a_quiet_clip_is_told() -> None:
    (reason,) = reasons(bursts(level=0.001, noise=1e-6))
    assert reason.startswith("too quiet (level -6")


@pytest.mark.parametrize(("rate", "highest"), [(8000, 4000), (11025, 5512)])
def test_what_was_recorded_at_a_lower_rate_is_found_out(rate: int, highest: int) -> None:
    narrow = soxr.resample(soxr.resample(bursts(), RATE, rate), rate, RATE)
    narrow = np.round(narrow * 32767) / 32768  # as a file of 16 bits keeps it
    assert measure_clip(narrow, RATE).bandwidth_hz == pytest.approx(highest, abs=200)
    assert measure_clip(bursts(), RATE).bandwidth_hz == 8000
    told = [reason for reason in reasons(narrow.astype(np.float32)) if "telephone" in reason]
    assert bool(told) is (rate == 8000)


def test_a_telephone_is_told_unless_it_is_noise_that_hides_the_rest() -> None:
    narrow = soxr.resample(soxr.resample(bursts(), RATE, 8000), 8000, RATE)
    (reason,) = reasons(narrow.astype(np.float32))
    assert re.fullmatch(r"telephone band: nothing of the voice above (3\.9|4\.[012]) kHz", reason)
    noisier = dataclasses.replace(measure_clip(narrow, RATE), snr_db=24.0)
    assert TRUSTED.reasons(noisier)[0].startswith("telephone band, or noise above it: nothing")
    noise = 0.05 * np.random.default_rng(1).normal(size=len(narrow))
    (reason,) = reasons((narrow + noise).astype(np.float32))
    assert reason.startswith("noisy")


def test_what_a_codec_left_out_is_told_as_a_share() -> None:
    good = measure_clip(bursts(), RATE)
    assert "missing" not in str(good)
    poor = dataclasses.replace(good, hole_share=0.064)
    assert TRUSTED.reasons(poor) == (
        "heavily compressed (mp3 or similar at a low rate): 6 % of the spectrum is missing",
    )
    assert ENROLMENT_FLOOR.reasons(poor) == ()
    assert "50 Hz to 8.0 kHz, 6 % of it missing" in str(poor)


def test_steady_sounds_and_silence_hold_no_speech() -> None:
    hum = 0.1 * np.sin(2 * np.pi * 100 * np.arange(2 * RATE) / RATE)
    assert reasons(hum.astype(np.float32))[0] == "only 0.0 s of speech in 2.0 s"
    report = measure_clip(np.zeros(RATE, dtype=np.float32), RATE)
    assert report.level_db == -np.inf
    assert json.loads(json.dumps(report.to_dict()))["level_db"] is None


def test_limits_can_be_left_out() -> None:
    none = QualityLimits(None, None, None, None, None, None)
    assert none.reasons(ClipReport(1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, -99.0, 1.0)) == ()


def test_windows_combine_to_the_whole() -> None:
    clip = bursts(20)
    parts = [measure_clip(part, RATE) for part in np.split(clip, 4)]
    whole, combined = measure_clip(clip, RATE), combine_reports(parts)
    for name in ("duration_s", "speech_s", "clipped_share", "level_db"):
        assert getattr(combined, name) == pytest.approx(getattr(whole, name), rel=1e-3)
    assert combined.snr_db == pytest.approx(whole.snr_db, abs=1.0)
    assert combined.bandwidth_hz == pytest.approx(whole.bandwidth_hz, abs=100)
    assert combined.low_edge_hz == pytest.approx(whole.low_edge_hz, abs=50)
    assert combined.hole_share == pytest.approx(whole.hole_share, abs=0.002)


def test_what_is_told_of_the_band_is_that_of_most_of_the_speech() -> None:
    wide, narrow = (measure_clip(bursts(n), RATE) for n in (1, 9))
    narrow = dataclasses.replace(narrow, bandwidth_hz=4000.0)
    assert combine_reports([wide, narrow]).bandwidth_hz == pytest.approx(4400.0, abs=10)
