"""Noise and babble: exact ratios, and folders as users have them."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.config import AugmentConf
from mvector.data import write_list
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.clips import ClipPool
from mvector.data.augmentation.noise import add_noise, mean_power, mix_talkers

RATE = 16000


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="mvector")
    return caplog


def random(seed: int, num_samples: int = 3 * RATE, level: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=num_samples) * level).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.mean(waveform.astype(np.float64) ** 2))


def snr_db(clean: np.ndarray, noisy: np.ndarray) -> float:
    return 10 * np.log10(power(clean) / power(noisy.astype(np.float64) - clean))


def augmentor(**sections: dict) -> WaveformAugmentor:
    return WaveformAugmentor(AugmentConf.model_validate(sections), RATE)


@pytest.mark.parametrize("num_samples", [1, 8191, 8192, 8193, 48000])
@pytest.mark.parametrize("level", [1e-4, 0.1, 3.0])
def test_power_is_the_mean_square_to_a_millionth(num_samples: int, level: float) -> None:
    waveform = random(1, num_samples, level)
    assert mean_power(waveform) == pytest.approx(power(waveform), rel=1e-6)


@pytest.mark.parametrize("ratio_db", [-10.0, 0.0, 7.5, 40.0])
def test_the_ratio_is_exact_over_the_crop(ratio_db: float) -> None:
    speech, noise = random(1), random(2, level=0.5) + np.float32(0.3)
    assert snr_db(speech, add_noise(speech, noise, ratio_db)) == pytest.approx(ratio_db, abs=1e-3)


def test_silent_noise_and_silent_speech_change_nothing() -> None:
    speech, silence = random(1), np.zeros(3 * RATE, dtype=np.float32)
    np.testing.assert_array_equal(add_noise(speech, silence, 0.0), speech)
    np.testing.assert_array_equal(add_noise(silence, speech, 0.0), silence)


def test_noise_from_a_folder_has_a_ratio_in_the_range(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", random(3, 10 * RATE), RATE)
    noisy = augmentor(
        noise={"prob": 1.0, "noise_dir": str(tmp_path), "min_snr_dB": 4, "max_snr_dB": 6}
    )
    speech, rng = random(1), np.random.default_rng(0)
    ratios = [snr_db(speech, noisy(speech, rng)) for _ in range(20)]
    assert 4 <= min(ratios) < 4.8
    assert 5.2 < max(ratios) <= 6


def test_talkers_are_heard_with_the_same_power() -> None:
    # Three tones, the quietest 40 dB below the loudest: all come out alike
    times = np.arange(RATE) / RATE
    tones = [
        (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)
        for level, hz in ((1.0, 500), (0.01, 1000), (0.1, 2000))
    ]
    babble = mix_talkers([*tones, np.zeros(RATE, dtype=np.float32)], RATE)
    magnitudes = np.abs(np.fft.rfft(babble))[[500, 1000, 2000]]
    np.testing.assert_allclose(magnitudes, magnitudes.mean(), rtol=1e-4)
    assert power(babble) == pytest.approx(3.0, rel=1e-3)


def write_talkers(folder: Path, num_speakers: int = 4) -> None:
    """One tone for each speaker, in clips of several folders."""
    times = np.arange(2 * RATE) / RATE
    for speaker in range(num_speakers):
        (folder / str(speaker)).mkdir()
        for clip in range(3):
            tone = 0.1 * (clip + 1) * np.sin(2 * np.pi * 500 * (speaker + 1) * times)
            soundfile.write(folder / str(speaker) / f"{clip}.wav", tone, RATE, subtype="FLOAT")


def test_babble_is_a_sum_of_different_speakers_at_the_ratio_asked_for(tmp_path: Path) -> None:
    write_talkers(tmp_path)
    conf = {"prob": 1.0, "babble_dir": str(tmp_path), "min_talkers": 2, "max_talkers": 4}
    babbling = augmentor(babble={**conf, "min_snr_dB": 10, "max_snr_dB": 10})
    speech, rng = random(1, RATE), np.random.default_rng(0)
    counts = set()
    for _ in range(20):
        babble = babbling(speech, rng) - speech
        assert snr_db(speech, speech + babble) == pytest.approx(10.0, abs=1e-2)
        magnitudes = np.abs(np.fft.rfft(babble))[[500, 1000, 1500, 2000]]
        talking = magnitudes > 0.01 * magnitudes.max()
        # different speakers: no tone comes twice, so that all are equally strong
        np.testing.assert_allclose(magnitudes[talking], magnitudes.max(), rtol=0.05)
        counts.add(int(talking.sum()))
    assert counts == {2, 3, 4}


def test_babble_from_fewer_speakers_than_talkers_still_has_them_all(tmp_path: Path) -> None:
    write_talkers(tmp_path, num_speakers=2)
    pool = ClipPool("babble", tmp_path, RATE)
    clips = pool.draw_talkers(5, np.random.default_rng(0))
    assert len(clips) == 5
    assert {pool.labels[clip] for clip in clips} == {0, 1}


def test_every_clip_of_a_flat_folder_is_a_speaker(tmp_path: Path) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", random(number, RATE), RATE)
    pool = ClipPool("babble", tmp_path, RATE)
    rng = np.random.default_rng(0)
    assert all(len(set(pool.draw_talkers(4, rng))) == 4 for _ in range(10))


# ---- folders ---------------------------------------------------------------------------------


def test_unreadable_files_are_left_out_with_a_count(
    tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "good.wav", random(1, RATE), RATE)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.flac").touch()
    assert len(ClipPool("noise", tmp_path, RATE)) == 1
    assert "Augmentation by noise: 2 unreadable files left out." in messages.text


def test_a_file_damaged_behind_its_header_leaves_the_clip_as_it_is(
    tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "noise.flac", random(1, 4 * RATE), RATE)
    content = (tmp_path / "noise.flac").read_bytes()
    (tmp_path / "noise.flac").write_bytes(content[: len(content) // 4])
    noisy = augmentor(noise={"prob": 1.0, "noise_dir": str(tmp_path)})
    speech, rng = random(2), np.random.default_rng(0)
    for _ in range(3):
        np.testing.assert_array_equal(noisy(speech, rng), speech)
    assert messages.text.count("Augmentation by noise: a clip is left out, 1 of 1 so far") == 1


@pytest.mark.parametrize("kind", ["noise", "babble", "reverb"])
@pytest.mark.parametrize("folder", [None, "empty", "missing", "unreadable"])
def test_without_clips_an_augmentation_is_off_and_says_so_in_one_line(
    kind: str, folder: str | None, tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "text.wav").write_text("no audio")
    where = None if folder is None else str(tmp_path / folder)
    off = augmentor(**{kind: {"prob": 1.0, f"{kind}_dir": where}})
    speech = random(1)
    np.testing.assert_array_equal(off(speech, np.random.default_rng(0)), speech)
    (record,) = messages.records
    assert record.getMessage().startswith(f"Augmentation by {kind} is off: ")
    assert (str(where) if where else "no folder is configured") in record.getMessage()


def test_what_never_happens_does_not_look_at_its_folder(
    messages: pytest.LogCaptureFixture,
) -> None:
    augmentor(noise={"prob": 0.0, "noise_dir": "missing"})
    assert not messages.records


@pytest.mark.parametrize("cache_mb", [512, 0])
def test_stereo_is_mixed_down_and_another_rate_resampled(tmp_path: Path, cache_mb: int) -> None:
    times = np.arange(2 * 44100) / 44100
    left, right = (0.2 * np.sin(2 * np.pi * hz * times) for hz in (1000, 3000))
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 44100, "FLOAT")
    stretch = ClipPool("noise", tmp_path, RATE, cache_mb=cache_mb).read_stretch(0, RATE, 0.5)
    assert stretch is not None
    magnitudes = np.abs(np.fft.rfft(stretch * np.hanning(RATE))) * 4 / RATE
    assert magnitudes[[1000, 3000]] == pytest.approx([0.1, 0.1], rel=0.01)
    assert magnitudes[4000:].max() < 1e-3


@pytest.mark.parametrize("cache_mb", [512, 0])
def test_a_short_noise_is_repeated_and_a_long_one_is_cut_anywhere(
    tmp_path: Path, cache_mb: int
) -> None:
    ramp = np.linspace(-0.9, 0.9, RATE).astype(np.float32)
    soundfile.write(tmp_path / "ramp.wav", ramp, RATE, "FLOAT")
    pool = ClipPool("noise", tmp_path, RATE, cache_mb=cache_mb)
    for num_samples, place, expected in (
        (2 * RATE + 5, 0.7, np.resize(ramp, 2 * RATE + 5)),
        (1000, 0.0, ramp[:1000]),
        (1000, 1.0, ramp[-1000:]),
    ):
        stretch = pool.read_stretch(0, num_samples, place)
        np.testing.assert_allclose(stretch, expected, atol=3e-5)


def test_clips_beyond_the_memory_limit_are_read_from_their_files(
    tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    waveforms = [random(number, 10 * RATE) for number in range(5)]
    for number, waveform in enumerate(waveforms):
        soundfile.write(tmp_path / f"{number}.wav", waveform, RATE, "FLOAT")
    pool = ClipPool("noise", tmp_path, RATE, cache_mb=1)  # three clips of 0.32 MB
    assert "3 of 5 clips fit into 1 MB" in messages.text
    for number, waveform in enumerate(waveforms):
        stretch = pool.read_stretch(number, RATE, 0.0)
        np.testing.assert_allclose(stretch, waveform[:RATE], atol=2e-5)


def test_a_packed_corpus_serves_as_folder(tmp_path: Path) -> None:
    from mvector.data.packed import PackedCorpus
    from mvector.data.packing import pack_corpus

    write_talkers(tmp_path)
    clips = sorted(tmp_path.glob("*/*.wav"))
    write_list(tmp_path / "list.txt", [(str(clip), int(clip.parent.name)) for clip in clips])
    packed = tmp_path / "packed"
    pack_corpus(tmp_path / "list.txt", packed, num_workers=0, show_progress=False)
    pool = ClipPool("babble", packed, RATE)
    assert len(pool) == 12
    talkers = pool.draw_talkers(4, np.random.default_rng(0))
    assert {pool.labels[clip] for clip in talkers} == {0, 1, 2, 3}
    expected = PackedCorpus(packed).read(7)
    np.testing.assert_array_equal(pool.read_stretch(7, 1000, 1.0), expected[-1000:])
    assert len(pickle.dumps(pool)) < 1000  # it travels as its path
    slow = ClipPool("babble", packed, RATE // 2).read_stretch(7, RATE // 2, 0.0)
    assert slow is not None
    assert np.argmax(np.abs(np.fft.rfft(slow))) == 1500


def test_decoded_clips_do_not_travel_when_pickled(tmp_path: Path) -> None:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", random(number, 10 * RATE), RATE)
    noisy = augmentor(noise={"prob": 1.0, "noise_dir": str(tmp_path)})
    speech = random(1)
    expected = [noisy(speech, np.random.default_rng(seed)) for seed in range(9)]
    pickled = pickle.dumps(noisy)
    assert len(pickled) < 10_000
    again = pickle.loads(pickled)
    for seed, waveform in enumerate(expected):
        np.testing.assert_array_equal(again(speech, np.random.default_rng(seed)), waveform)


def test_noises_of_any_format_are_used_and_other_files_are_named(
    tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    for name, kind in {"a.aif": "AIFF", "b.caf": "CAF", "c": "FLAC"}.items():
        with (tmp_path / name).open("wb") as stream:
            soundfile.write(stream, random(1), RATE, format=kind)
    (tmp_path / "d.xyz").write_text("no audio")
    assert len(ClipPool("noise", tmp_path, RATE)) == 3
    assert any("no known audio format ('d.xyz')" in message for message in messages.messages)
