"""Any clip becomes float32 mono in [-1, 1] at the rate asked for, or one sentence says why not."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector import read_audio
from mvector.audio import audio_info, audio_windows, check_speech, level_db, write_wav
from mvector.errors import AudioError, MissingDependencyError

RATE = 16000


def tone(duration_s: float = 1.0, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate)) / rate)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
    ],
)
def test_lossless_formats_give_the_samples_back(
    tmp_path: Path, name: str, subtype: str, tolerance: float
) -> None:
    soundfile.write(tmp_path / name, tone(), RATE, subtype=subtype)
    read = read_audio(tmp_path / name)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, tone(), atol=tolerance)


@pytest.mark.parametrize(
    ("name", "format_name", "subtype"),
    [("a.ogg", "OGG", "VORBIS"), ("a.opus", "OGG", "OPUS"), ("a.mp3", "MP3", "MPEG_LAYER_III")],
)
def test_lossy_formats_give_the_tone_back(
    tmp_path: Path, name: str, format_name: str, subtype: str
) -> None:
    soundfile.write(tmp_path / name, tone(2.0), RATE, format=format_name, subtype=subtype)
    read = read_audio(tmp_path / name)
    spectrum = np.abs(np.fft.rfft(read[: 2 * RATE]))
    assert abs(len(read) - 2 * RATE) < 0.1 * RATE
    assert abs(np.argmax(spectrum) * RATE / (2 * len(spectrum) - 2) - 440.0) < 2.0


def test_m4a_is_read_through_pyav(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        samples = tone(2.0).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    read = read_audio(path, offset_s=0.5, duration_s=1.0)
    assert len(read) == RATE
    spectrum = np.abs(np.fft.rfft(read))
    assert np.argmax(spectrum) == 440
    assert abs(audio_info(path).duration_s - 2.0) < 0.2


def test_without_pyav_an_m4a_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match="pip install av"):
        read_audio(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100))


def test_path_bytes_file_object_and_array_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    expected = read_audio(path)
    data = path.read_bytes()
    integers, _ = soundfile.read(path, dtype="int16")
    for source in (str(path), data, io.BytesIO(data), (integers, RATE), (expected, RATE)):
        np.testing.assert_array_equal(read_audio(source), expected)


def test_a_file_object_can_be_read_again(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    stream = io.BytesIO((tmp_path / "a.wav").read_bytes())
    np.testing.assert_array_equal(read_audio(stream), read_audio(stream))


def test_a_file_object_stands_where_it_stood_after_a_read_that_was_left_half_way() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.ones(RATE, np.float32) / 2, RATE, format="WAV")
    stream.seek(0)
    windows = audio_windows(stream, RATE, window_s=0.1)
    next(windows)
    windows.close()
    assert stream.tell() == 0


def test_channels_are_averaged(tmp_path: Path) -> None:
    eight = np.stack([tone(hz=100.0 * k) for k in range(1, 9)], axis=1)
    soundfile.write(tmp_path / "a.wav", eight, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), eight.mean(axis=1), atol=1e-6)
    assert audio_info(tmp_path / "a.wav").num_channels == 8


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_any_rate_is_resampled(rate: int) -> None:
    read = read_audio((tone(1.0, rate), rate), RATE)
    assert len(read) == RATE
    inner = slice(RATE // 10, -RATE // 10)  # filters ring at the edges
    np.testing.assert_allclose(read[inner], tone()[inner], atol=1e-3)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.opus"])
def test_a_part_equals_the_same_stretch_of_the_whole(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE)
    subtype = {"a.opus": "OPUS"}.get(name, "PCM_16")
    kind = {"a.wav": "WAV", "a.flac": "FLAC", "a.opus": "OGG"}[name]
    soundfile.write(tmp_path / name, noise, RATE, format=kind, subtype=subtype)
    whole = read_audio(tmp_path / name)
    part = read_audio(tmp_path / name, offset_s=1.5, duration_s=1.0)
    tolerance = 0.05 if name == "a.opus" else 0  # a lossy decoder needs a moment to settle
    np.testing.assert_allclose(part[2000:], whole[24000 + 2000 : 40000], atol=tolerance)
    assert len(part) == RATE


def test_a_partial_read_does_not_decode_the_rest(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(60 * RATE), RATE)
    decoded = []
    real_read = soundfile.SoundFile.read

    def counting_read(self, frames=-1, *args, **options):
        samples = real_read(self, frames, *args, **options)
        decoded.append(len(samples))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", counting_read)
    read_audio(path, offset_s=50.0, duration_s=3.0)
    assert sum(decoded) == 3 * RATE


def test_a_part_beyond_the_end_is_refused() -> None:
    with pytest.raises(AudioError, match=r"ends before 2 s"):
        read_audio((tone(), RATE), offset_s=2.0)


def truncated_flac(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 2 * RATE), RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[:20000])


def not_finite(path: Path) -> None:
    samples = tone()
    samples[5] = np.nan
    soundfile.write(path, samples, RATE, format="WAV", subtype="FLOAT")


BAD_FILES = {
    "missing": (lambda path: None, "does not exist; check the path"),
    "empty": (lambda path: path.touch(), "is an empty file"),
    "text": (lambda path: path.write_text("hello " * 50), "is not audio that can be decoded"),
    "header only": (
        lambda path: soundfile.write(path, np.zeros(0), RATE, format="WAV"),
        "holds no samples",
    ),
    "truncated flac": (truncated_flac, "is (damaged|cut short).* again"),
    "NaN samples": (not_finite, "holds 1 samples that are NaN or infinite"),
    "a rate of 1 Hz": (
        lambda path: soundfile.write(path, np.ones(9), 1, format="WAV"),
        "has the sample rate 1 Hz",
    ),
    "a folder": (lambda path: path.mkdir(), "is a folder; give a file"),
}


if hasattr(os, "mkfifo"):  # not on Windows; opening one would wait for ever
    BAD_FILES["a pipe"] = (os.mkfifo, "cannot be opened: it is not a file")


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_one_sentence_that_names_it(tmp_path: Path, kind: str) -> None:
    make, words = BAD_FILES[kind]
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(AudioError, match=words) as caught:
        read_audio(path)
    assert "bad.wav'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://example.org/a.wav", "S3://bucket/a.wav"])
def test_an_address_is_no_path(address: str) -> None:
    with pytest.raises(AudioError, match=rf"^'{address}' is an address; download it first\.$"):
        read_audio(address)


def test_a_short_or_silent_clip_is_refused() -> None:
    with pytest.raises(
        AudioError, match=r"'a' is too short: it lasts 0\.10 s, and at least 0\.5 s"
    ):
        check_speech(tone(0.1), RATE, name="'a'", min_duration_s=0.5)
    with pytest.raises(AudioError, match="'a' is silent"):
        check_speech(np.zeros(RATE), RATE, name="'a'", min_duration_s=0.5)


def test_level_is_the_mean_power_in_db() -> None:
    assert abs(level_db(tone()) - 10 * np.log10(0.125)) < 1e-3
    assert level_db(np.zeros(10)) == -np.inf


def test_a_wav_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_wav(tmp_path / "new" / "a.wav", tone(), RATE)
    np.testing.assert_allclose(read_audio(tmp_path / "new" / "a.wav"), tone(), atol=2**-15)
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="Cannot write"):
        write_wav(tmp_path / "file" / "a.wav", tone(), RATE)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.wav"]
