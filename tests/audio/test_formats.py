"""One table of suffixes: all that the decoders read, and what is beside it is told of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import soundfile
from media_clips import RATE, encode, tone

from mvector.audio import AUDIO_SUFFIXES, PassedOver, is_audio, read_audio
from mvector.audio.formats import FFMPEG_FORMATS, SOUNDFILE_FORMATS

# Headerless; any matrix; a header in a file of its own; no rate; the same as WAV.
NO_CLIPS = {"RAW", "MAT4", "MAT5", "SD2", "XI", "WAVEX"}
SUBTYPES = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III", "WVE": "ALAW"}
RATES = {"WVE": 8000}

# What PyAV can write, by the suffix.
WRITTEN_BY_FFMPEG = {
    ".aac": ("aac", "adts"),
    ".ac3": ("ac3", "ac3"),
    ".amr": ("libopencore_amrnb", "amr"),
    ".wma": ("wmav2", "asf"),
    ".avi": ("libmp3lame", "avi"),
    ".eac3": ("eac3", "eac3"),
    ".flv": ("aac", "flv"),
    ".mkv": ("aac", "matroska"),
    ".mka": ("libopus", "matroska"),
    ".m4a": ("aac", "ipod"),
    ".mov": ("pcm_s16le", "mov"),
    ".3gp": ("libopencore_amrnb", "3gp"),
    ".mpg": ("mp2", "mpeg"),
    ".m2ts": ("mp2", "mpegts"),
    ".rm": ("ac3", "rm"),
    ".sox": ("pcm_s32le", "sox"),
    ".spx": ("flac", "ogg"),
    ".tta": ("tta", "tta"),
    ".wv": ("wavpack", "wv"),
    ".webm": ("libopus", "webm"),
}


def test_the_table_names_what_libsndfile_reports() -> None:
    assert {*soundfile.available_formats()} - NO_CLIPS <= SOUNDFILE_FORMATS.keys()
    assert not NO_CLIPS & SOUNDFILE_FORMATS.keys()


def test_the_table_names_what_ffmpeg_reports_and_nothing_that_opens_other_files() -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    known = {one for names in av.format.formats_available for one in names.split(",")}
    assert FFMPEG_FORMATS.keys() <= known
    lists = {"hls", "concat", "concatf", "dash", "rtsp", "rtp", "sdp", "image2", "image2pipe"}
    guesses = {"s16le", "u8", "alaw", "mulaw", "g722", "g726", "gsm", "amrnb", "amrwb", "data"}
    assert not FFMPEG_FORMATS.keys() & (lists | guesses | {"lavfi", "tty", "ffmetadata"})


@pytest.mark.parametrize("kind", sorted(SOUNDFILE_FORMATS))
def test_what_libsndfile_writes_is_found_and_read(kind: str, tmp_path: Path) -> None:
    rate = RATES.get(kind, RATE)
    options = {"format": kind, "subtype": SUBTYPES.get(kind, "PCM_16")}
    for suffix in SOUNDFILE_FORMATS[kind]:
        path = tmp_path / f"A{suffix.upper()}"
        with path.open("wb") as stream:
            soundfile.write(stream, tone(1.0, rate), rate, **options)
        assert is_audio(path)
        assert abs(len(read_audio(path, rate)) - rate) < 0.1 * rate


@pytest.mark.parametrize("suffix", sorted(WRITTEN_BY_FFMPEG))
def test_what_ffmpeg_writes_is_found_and_read_with_and_without_its_suffix(
    suffix: str, tmp_path: Path
) -> None:
    data = encode(*WRITTEN_BY_FFMPEG[suffix], duration_s=1.0)
    for name in (f"a{suffix}", "no_suffix"):
        (tmp_path / name).write_bytes(data)
        assert is_audio(tmp_path / name) or (name, suffix) == ("no_suffix", ".m2ts")
        assert abs(len(read_audio(tmp_path / name)) - RATE) < 0.2 * RATE


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "NIST"])
def test_a_clip_without_suffix_is_known_by_its_first_bytes(kind: str, tmp_path: Path) -> None:
    with (tmp_path / "clip").open("wb") as stream:
        soundfile.write(stream, tone(), RATE, format=kind)
    assert is_audio(tmp_path / "clip")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README", b"About these clips.\n"),
        ("LISEZMOI", "\ufeffÀ propos".encode("utf-16")),
        ("empty", b""),
        (".hidden.wav", b"RIFF"),
        ("a.txt", b"RIFF"),
        ("a.doc", b"RIFF"),
    ],
)
def test_what_is_no_clip_is_not_taken_for_one(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert not is_audio(tmp_path / name)


def test_a_folder_is_no_clip(tmp_path: Path) -> None:
    assert not is_audio(tmp_path)
    assert not is_audio(tmp_path / "missing")


def test_files_passed_over_are_counted_and_some_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.wav", "a.txt", "a.TextGrid", ".DS_Store", *(f"bob/{k}.xyz" for k in range(1200))]
    passed_over = PassedOver()
    assert [name for name in names if passed_over.takes(tmp_path / name)] == ["a.wav"]
    with caplog.at_level(logging.INFO, "mvector"):
        passed_over.report(tmp_path, with_clips=())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"Passed over in '{tmp_path}': 1,200 files of no known audio format ('bob/0.xyz', "
        "'bob/1.xyz', 'bob/10.xyz' and 1,197 more) and 3 files such as texts and hidden ones. "
        "No clip is found of 'bob'."
    )


def test_texts_beside_the_clips_are_no_reason_to_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passed_over = PassedOver()
    assert not passed_over.takes(tmp_path / "a.txt")
    with caplog.at_level(logging.INFO, "mvector"):
        passed_over.report(tmp_path)
        PassedOver().report(tmp_path)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage().endswith("1 file such as texts and hidden ones.")


def test_every_suffix_is_in_small_letters_behind_a_dot() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)
