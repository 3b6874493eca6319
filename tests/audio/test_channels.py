"""Which of several channels are heard, and what is told of odd ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from error_codes import raises_code

from mvector.audio import ChannelOf, audio_info, audio_windows, parse_channel, read_audio
from mvector.audio.channels import ChannelChoice, choose_channels
from mvector.demo.voices import random_voice, synthesise
from mvector.errors import AudioError

RATE = 16000


def voice(number: int, duration_s: float = 4.0, seed: int = 0) -> np.ndarray:
    clip = synthesise(random_voice(number), duration_s, RATE, seed=seed, noise_db=-60.0)
    return clip.astype(np.float32)


def noise(num_samples: int, level: float, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=num_samples)).astype(np.float32)


@pytest.fixture(scope="module")
def one() -> np.ndarray:
    return voice(0)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return voice(1, seed=7)


def stereo(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, int]:
    return np.stack([left, right], axis=1).astype(np.float32), RATE


def choice(clip: tuple[np.ndarray, int]) -> ChannelChoice:
    return choose_channels(*clip)


# ---- what auto hears ----------------------------------------------------------------------------


def test_one_voice_in_two_microphones_is_their_mean(one: np.ndarray) -> None:
    echo = np.zeros_like(one)
    echo[400:] = 0.4 * one[:-400]  # 25 ms later
    rights = {
        "the same": one,
        "weaker": 0.1 * one,
        "noisy": one + noise(len(one), 0.02),
        "later": np.roll(one, 100),
        "with an offset": one + 0.2,
        "an echo beside it": 0.5 * one + echo,
    }
    for what, right in rights.items():
        clip = stereo(one, right)
        found = choice(clip)
        assert (found.heard, found.caution) == ((0, 1), None), what
        np.testing.assert_array_equal(read_audio(clip), clip[0].mean(axis=1))


@pytest.mark.parametrize("gain", [-1.0, -0.8, -1.2])
def test_channels_that_cancel_leave_the_louder_one(one: np.ndarray, gain: float) -> None:
    clip = stereo(one, gain * one + noise(len(one), 1e-4))
    louder = 0 if abs(gain) < 1 else 1
    if gain != -1.0:
        assert choice(clip).heard == (louder,)
    heard = read_audio(clip)
    np.testing.assert_array_equal(heard, clip[0][:, choice(clip).heard[0]])
    assert choice(clip).caution is None


@pytest.mark.parametrize(
    "empty",
    [
        pytest.param(lambda x: np.zeros_like(x), id="zeros"),
        pytest.param(lambda x: np.full_like(x, 0.3), id="an offset"),
        pytest.param(lambda x: noise(len(x), 1e-4), id="weak noise"),
        pytest.param(lambda x: noise(len(x), 3e-3), id="noise without a word"),
        pytest.param(lambda x: x * np.float32(0.005), id="46 dB below"),
    ],
)
@pytest.mark.parametrize("full", [0, 1])
def test_of_an_empty_channel_the_other_one_is_heard(one: np.ndarray, empty, full: int) -> None:
    pair = [one, empty(one)]
    clip = stereo(*(pair if full == 0 else pair[::-1]))
    found = choice(clip)
    assert (found.heard, found.caution, found.pair) == ((full,), "empty", (full, 1 - full))
    assert str(found) == f"channel {1 - full} is empty, channel {full} is heard"
    np.testing.assert_array_equal(read_audio(clip), one)


def test_two_voices_are_told_of(one: np.ndarray, other: np.ndarray) -> None:
    at_once = stereo(one, other)
    in_turns = stereo(*(np.concatenate(side) for side in ((one, 0 * one), (0 * other, other))))
    call = in_turns[0] + noise(2 * len(one), 1e-4)[:, None] + 0.02 * in_turns[0][:, ::-1]
    for clip in (at_once, in_turns, (call, RATE)):
        found = choice(clip)
        assert (found.heard, found.caution) == ((0, 1), "different")
        assert str(found) == (
            "channels 0 and 1 hold different voices: choose one (--channel 0 or --channel 1, for "
            "one file alone FILE#channel=0)"
        )


def test_a_common_offset_does_not_make_two_voices_one(one: np.ndarray, other: np.ndarray) -> None:
    assert choice(stereo(one + 0.3, other + 0.3)).caution == "different"


def test_silence_and_steady_sounds_are_mixed() -> None:
    time_s = np.arange(2 * RATE) / RATE
    low, high = (0.1 * np.sin(2 * np.pi * hz * time_s) for hz in (200.0, 330.0))
    for clip in (stereo(0 * low, 0 * low), stereo(low, high)):
        assert choice(clip) == ChannelChoice((0, 1))


def test_of_many_channels_the_empty_ones_are_left_out(one: np.ndarray) -> None:
    surround = np.stack([0 * one, one, 0 * one, 0.5 * one, 0 * one, 0 * one], axis=1)
    found = choice((surround, RATE))
    assert (found.heard, found.caution) == ((1, 3), None)
    np.testing.assert_allclose(read_audio((surround, RATE)), 0.75 * one, atol=1e-6)


# ---- the same however it is read ----------------------------------------------------------------


def test_the_decision_is_the_same_however_a_clip_is_read(tmp_path: Path, one: np.ndarray) -> None:
    """And it stands: channels are not changed where the other one begins to speak."""
    later = np.concatenate([np.zeros(32 * RATE, np.float32), one])
    steady = np.tile(one, 9)
    clip = stereo(steady, later)[0]
    soundfile.write(tmp_path / "a.wav", clip, RATE, subtype="FLOAT")
    whole = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(whole, steady)
    for window_s in (0.7, 10.0, 30.0):
        windows = audio_windows(tmp_path / "a.wav", window_s=window_s)
        np.testing.assert_array_equal(np.concatenate(list(windows)), whole)
    told: list[ChannelChoice] = []
    list(audio_windows(tmp_path / "a.wav", window_s=10.0, on_choice=told.append))
    assert [(found.heard, found.caution) for found in told] == [((0,), "empty")]
    part = read_audio(tmp_path / "a.wav", offset_s=32.0, duration_s=4.0)
    np.testing.assert_array_equal(part, clip[32 * RATE :].mean(axis=1))  # decided from that


def test_blocks_of_any_size_give_the_same(one: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = stereo(one, -0.7 * one)
    whole = read_audio(clip)
    monkeypatch.setattr("mvector.audio.samples.BLOCK_SAMPLES", 1000)
    np.testing.assert_array_equal(read_audio(clip), whole)


# ---- a channel that is chosen -------------------------------------------------------------------


@pytest.fixture
def two_people(tmp_path: Path, one: np.ndarray, other: np.ndarray) -> Path:
    soundfile.write(tmp_path / "call.wav", stereo(one, other)[0], RATE, subtype="FLOAT")
    return tmp_path / "call.wav"


def test_a_channel_is_chosen_by_its_number(
    two_people: Path, one: np.ndarray, other: np.ndarray
) -> None:
    for channel, expected in ((0, one), (1, other), ("mix", (one + other) / 2)):
        np.testing.assert_allclose(read_audio(two_people, channel=channel), expected, atol=1e-7)
        named = f"{two_people}#channel={channel}"
        np.testing.assert_allclose(read_audio(named), expected, atol=1e-7)
        data = two_people.read_bytes()
        np.testing.assert_allclose(read_audio(ChannelOf(data, channel)), expected, atol=1e-7)
    second = read_audio(two_people, channel=1, offset_s=1.0, duration_s=0.5)
    np.testing.assert_array_equal(second, other[RATE : RATE + RATE // 2])


def test_what_a_path_names_counts_before_what_is_given(two_people: Path, other: np.ndarray) -> None:
    np.testing.assert_array_equal(read_audio(f"{two_people}#channel=1", channel=0), other)
    np.testing.assert_array_equal(read_audio(ChannelOf(f"{two_people}#channel=1", 0)), other)


def test_a_file_may_have_such_a_name(two_people: Path, one: np.ndarray) -> None:
    odd = two_people.with_name("call.wav#channel=1")
    soundfile.write(odd, one, RATE, subtype="FLOAT", format="WAV")
    np.testing.assert_array_equal(read_audio(str(odd)), one)
    assert audio_info(odd).num_channels == 1


@pytest.mark.parametrize("channel", [2, 17])
def test_a_channel_that_is_not_there_is_named_with_those_that_are(
    two_people: Path, channel: int
) -> None:
    words = rf"call\.wav.* has no channel {channel}: it has 2 channels, 0 to 1; choose one of"
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match=words):
            read(f"{two_people}#channel={channel}")
    with pytest.raises(AudioError, match=words):
        read_audio(two_people, channel=channel)


def test_a_mono_clip_has_the_channel_0_alone(one: np.ndarray) -> None:
    np.testing.assert_array_equal(read_audio((one, RATE), channel=0), one)
    with pytest.raises(AudioError, match="has no channel 1: it has one channel, 0"):
        read_audio((one, RATE), channel=1)
    np.testing.assert_array_equal(read_audio((one, RATE), channel=1, mono_as_is=True), one)


@pytest.mark.parametrize("wrong", ["left", "-1", -1, 1.0, True, "", "0.5", None])
def test_what_is_no_channel_is_refused(one: np.ndarray, wrong: object) -> None:
    with pytest.raises(AudioError, match="is no channel; use auto, mix, or a number from 0"):
        parse_channel(wrong)
    with raises_code("audio-channel"):
        read_audio((one, RATE), channel=wrong)  # type: ignore[arg-type]


def test_samples_that_are_not_finite_are_found_in_what_is_heard(one: np.ndarray) -> None:
    broken = one.copy()
    broken[100] = np.nan
    clip = stereo(one, broken)
    with raises_code("audio-not-finite"):
        read_audio(clip)
    np.testing.assert_array_equal(read_audio(clip, channel=0), one)
