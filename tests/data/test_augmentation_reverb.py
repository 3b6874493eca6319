"""Reverberation: convolution, the direct path, energy, folders of responses, simulated rooms."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import fftconvolve, resample_poly

from mvector.audio import level_db
from mvector.config import AugmentConf
from mvector.config.augment_options import ReverbConf
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.convolution import convolve, pack_filter
from mvector.data.augmentation.reverb import (
    Reverberation,
    add_reverb,
    direct_path,
    prepare_response,
)
from mvector.data.augmentation.rooms import SPEED_OF_SOUND, Room, _echoes, draw_room, simulate_room

RATE = 16000


def random(seed: int, num_samples: int = RATE) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=num_samples) * 0.1).astype(np.float32)


def decaying(num_samples: int = 4000, direct: int = 100, seed: int = 0) -> np.ndarray:
    """A direct sound and a tail that dies away."""
    response = np.zeros(num_samples, dtype=np.float32)
    response[direct] = 1.0
    tail = np.arange(1, num_samples - direct)
    noise = np.random.default_rng(seed).normal(size=len(tail))
    response[direct + 1 :] = 0.1 * noise * np.exp(-tail / 800)
    return response


def at_power_of(clean: np.ndarray, wet: np.ndarray) -> np.ndarray:
    gain = np.sqrt(np.mean(clean.astype(np.float64) ** 2) / np.mean(wet**2))
    return wet * gain


# ---- convolution -----------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [1, 1000, 3999, 4001, 48000])
@pytest.mark.parametrize(("num_taps", "delay"), [(1, 0), (7, 3), (2001, 40), (9000, 8999)])
def test_convolution_agrees_with_float64(num_samples: int, num_taps: int, delay: int) -> None:
    waveform, taps = random(1, num_samples), random(2, num_taps)
    found = convolve(waveform, pack_filter(taps, num_samples), delay)
    full = fftconvolve(waveform.astype(np.float64), taps.astype(np.float64))
    expected = np.pad(full, (0, num_samples))[delay : delay + num_samples]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(full).max())


def test_the_bits_of_a_convolution_do_not_depend_on_the_number_of_threads() -> None:
    waveform, response = random(1, 3 * RATE), decaying()
    alone = add_reverb(waveform, response)
    try:
        torch.set_num_threads(3)
        assert np.array_equal(add_reverb(waveform, response), alone)
    finally:
        torch.set_num_threads(1)


# ---- responses -------------------------------------------------------------------------------


def test_the_direct_path_is_the_first_strong_arrival_and_not_the_loudest() -> None:
    response = np.zeros(8000, dtype=np.float32)
    response[:300] = 0.01 * random(0, 300)  # noise of the recording
    response[300] = -0.4
    response[700] = 1.0  # a focused reflection
    response[1000:] = 0.9 * random(1, 7000) / 0.4  # a swelling tail
    assert direct_path(response, RATE) == 300


def test_the_ripple_before_a_low_passed_pulse_is_not_the_direct_path() -> None:
    response = np.sinc((np.arange(2000) - 400.0) / 3)
    assert direct_path(response, RATE) == 400


def test_the_direct_sound_stays_in_its_place() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[5000] = 1.0
    response = decaying(direct=1234)
    response[2000] = 3.0
    wet = add_reverb(click, response)
    assert np.abs(wet[:5000]).max() < 1e-6
    assert wet[5766] / wet[5000] == pytest.approx(3.0, rel=1e-4)


def test_reverberation_keeps_the_power() -> None:
    speech = random(1)
    for response in (decaying(), 100 * decaying(), -decaying(direct=3000)):
        assert level_db(add_reverb(speech, response)) == pytest.approx(level_db(speech), abs=1e-4)


def test_silence_and_a_silent_response_change_nothing() -> None:
    speech, silence = random(1), np.zeros(RATE, dtype=np.float32)
    np.testing.assert_array_equal(add_reverb(speech, silence), speech)
    np.testing.assert_array_equal(add_reverb(silence, decaying()), silence)


def test_a_long_response_is_cut_with_a_fade() -> None:
    response = np.full(RATE, 0.5, dtype=np.float32)
    response[0] = 1.0
    taps, direct = prepare_response(response, RATE, 0.25)
    assert (len(taps), direct) == (4000, 0)
    np.testing.assert_array_equal(taps[:3200], response[:3200])
    assert np.all(np.diff(taps[3199:]) < 0)
    assert taps[3600] == pytest.approx(0.25, rel=0.01)
    assert taps[-1] == pytest.approx(0.0, abs=1e-6)


# ---- folders ---------------------------------------------------------------------------------


def reverberant(folder: Path | None, **options: object) -> WaveformAugmentor:
    conf = {"prob": 1.0, "reverb_dir": None if folder is None else str(folder), **options}
    return WaveformAugmentor(AugmentConf.model_validate({"reverb": conf}), RATE)


@pytest.mark.parametrize("cache_mb", [512, 0])
def test_a_response_of_a_folder_is_applied_as_by_float64(tmp_path: Path, cache_mb: int) -> None:
    response = decaying()
    soundfile.write(tmp_path / "room.wav", response, RATE, "FLOAT")
    speech = random(1, 3 * RATE)
    augmentor = reverberant(tmp_path, cache_MB=cache_mb)
    expected = fftconvolve(speech.astype(np.float64), response)[100 : 100 + len(speech)]
    expected = at_power_of(speech, expected)
    for _ in range(2):  # the second time from the kept spectrum
        wet = augmentor(speech, np.random.default_rng(0))
        np.testing.assert_allclose(wet, expected, atol=1e-5)


def test_a_stereo_response_at_another_rate_is_mixed_down_and_resampled(tmp_path: Path) -> None:
    slow = decaying(2000, direct=50).astype(np.float64)
    fast = resample_poly(slow, 3, 1)  # 48 kHz
    soundfile.write(tmp_path / "room.wav", np.stack([2 * fast, 0 * fast], 1), 48000, "FLOAT")
    speech = resample_poly(random(1, RATE // 2).astype(np.float64), 2, 1).astype(np.float32)
    wet = reverberant(tmp_path)(speech, np.random.default_rng(0))
    expected = at_power_of(speech, fftconvolve(speech, slow)[50 : 50 + len(speech)])
    error = np.mean((wet - expected) ** 2) / np.mean(expected**2)
    assert 10 * np.log10(error) < -30


def test_a_damaged_response_leaves_the_clip_as_it_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "room.flac", random(0, 4 * RATE), RATE)
    content = (tmp_path / "room.flac").read_bytes()
    (tmp_path / "room.flac").write_bytes(content[: len(content) // 4])
    speech = random(1)
    wet = reverberant(tmp_path)(speech, np.random.default_rng(0))
    np.testing.assert_array_equal(wet, speech)


def test_crops_of_many_lengths_share_their_spectra(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "room.wav", decaying(), RATE, "FLOAT")
    reverberation = Reverberation(ReverbConf(prob=1, reverb_dir=str(tmp_path)), RATE)
    for num_samples in (44001, 46000, 48000):
        speech = random(1, num_samples)
        expected = fftconvolve(speech.astype(np.float64), decaying())[100 : 100 + num_samples]
        np.testing.assert_allclose(
            reverberation(speech, 0), at_power_of(speech, expected), atol=1e-5
        )
    assert len(reverberation._spectra) == 1


# ---- simulated rooms -------------------------------------------------------------------------

SMALL = Room(np.array([4.0, 3.0, 2.5]), np.array([1.0, 1.2, 1.1]), np.array([3.1, 2.2, 1.6]), 0.3)


def rt60_s(response: np.ndarray) -> float:
    """From the slope between -5 and -35 dB of the energy still to come (Schroeder, ISO 3382)."""
    left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    decay_db = 10 * np.log10(left / left[0])
    part = slice(int(np.argmax(decay_db < -5)), int(np.argmax(decay_db < -35)))
    slope = np.polyfit(np.arange(len(response))[part] / RATE, decay_db[part], 1)[0]
    return -60 / slope


def test_the_echoes_are_those_of_a_loop_over_all_images() -> None:
    num_samples, rate = 400, 20000
    expected = np.zeros(num_samples)
    order, reflection = range(-4, 5), SMALL.reflection
    for nx in order:
        for ny in order:
            for nz in order:
                for mirrored in np.ndindex(2, 2, 2):
                    periods = np.array([nx, ny, nz])
                    sign = 1 - 2 * np.array(mirrored)
                    image = sign * SMALL.source_m + 2 * periods * SMALL.size_m
                    walls = np.abs(periods - mirrored).sum() + np.abs(periods).sum()
                    distance = float(np.linalg.norm(image - SMALL.microphone_m))
                    arrival = distance / SPEED_OF_SOUND * rate
                    amplitude = reflection**walls / (4 * np.pi * distance)
                    for sample in (int(arrival), int(arrival) + 1):
                        if sample < num_samples - 2:
                            expected[sample] += amplitude * (1 - abs(arrival - sample))
    found = _echoes(SMALL, rate, num_samples)
    np.testing.assert_allclose(found[:-3], expected[:-3], atol=1e-12)


def test_the_direct_sound_arrives_after_the_time_and_with_the_amplitude_of_its_distance() -> None:
    for seed in range(8):
        room = draw_room(ReverbConf(), np.random.default_rng(seed))
        response = simulate_room(room, RATE, 0.1)
        expected = room.distance_m / SPEED_OF_SOUND * RATE
        assert abs(direct_path(response, RATE) - expected) <= 1
    far = Room(np.full(3, 60.0), np.full(3, 30.0), np.array([30.0, 30.0, 32.0]), 1.0)
    alone = simulate_room(far, RATE, 0.05)  # no reflection comes that soon
    assert np.sum(alone**2) == pytest.approx((1 / (4 * np.pi * 2.0)) ** 2, rel=0.12)


@pytest.mark.parametrize("seed", range(6))
def test_the_reverberation_time_is_the_one_drawn(seed: int) -> None:
    room = draw_room(ReverbConf(), np.random.default_rng(seed))
    assert rt60_s(simulate_room(room, RATE, room.rt60_s)) == pytest.approx(room.rt60_s, rel=0.15)


def test_rooms_are_within_their_limits() -> None:
    config = ReverbConf(min_length_m=2, max_length_m=5, min_rt60_s=0.3, max_rt60_s=0.4)
    for seed in range(200):
        room = draw_room(config, np.random.default_rng(seed))
        assert np.all((room.size_m >= [2, 2, 2.4]) & (room.size_m <= [5, 5, 4]))
        for place in (room.source_m, room.microphone_m):
            assert np.all((place >= 0.5) & (place <= room.size_m - 0.5))
        assert 0.3 <= room.rt60_s <= 0.4
        assert room.distance_m >= 0.3


def test_rooms_are_simulated_where_no_folder_is_at_hand_and_are_the_same_everywhere() -> None:
    conf = {"simulate": True, "num_rooms": 5, "max_rt60_s": 0.3}
    augmentor, speech = reverberant(None, **conf), random(1)
    wet = [augmentor(speech, np.random.default_rng(seed)) for seed in range(10)]
    assert len({array.tobytes() for array in wet}) == 5
    for array in wet:
        assert level_db(array) == pytest.approx(level_db(speech), abs=1e-4)
    other = pickle.loads(pickle.dumps(reverberant(None, **conf)))
    for seed in reversed(range(10)):
        np.testing.assert_array_equal(other(speech, np.random.default_rng(seed)), wet[seed])
    assert not np.array_equal(
        reverberant(None, **conf, room_seed=1)(speech, np.random.default_rng(0)), wet[0]
    )


def test_measured_and_simulated_rooms_take_turns(tmp_path: Path) -> None:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", decaying(seed=number), RATE, "FLOAT")
    config = ReverbConf(prob=1, reverb_dir=str(tmp_path), simulate=True, num_rooms=20)
    reverberation = Reverberation(config, RATE)
    rng = np.random.default_rng(0)
    drawn = np.array([reverberation.draw_response(rng) for _ in range(400)])
    assert set(drawn) == set(range(23))
    assert np.mean(drawn < 3) == pytest.approx(0.5, abs=0.1)


def test_an_empty_folder_with_rooms_to_simulate_says_what_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reverberant(tmp_path, simulate=True)
    assert "Augmentation by reverb has simulated rooms only: the folder" in caplog.text
