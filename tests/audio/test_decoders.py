"""The content of a clip decides who decodes it: libsndfile, or else FFmpeg."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from error_codes import raises_code
from media_clips import RATE, encode, is_the_tone, tone

from mvector.audio import AudioLimits, audio_info, header_duration, read_audio
from mvector.audio.sources import buffer_unseekable
from mvector.errors import AudioError

# Of each, libsndfile reads nothing.
MEDIA = {
    "G.726 in wav": lambda: encode("g726", "wav"),
    "G.722 in wav": lambda: encode("g722", "wav"),
    "FLAC in Ogg": lambda: encode("flac", "ogg"),
    "AAC": lambda: encode("aac", "adts"),
    "AAC behind an ID3 tag": lambda: encode("aac", "adts", options={"write_id3v2": "1"}),
    "AMR": lambda: encode("libopencore_amrnb", "amr"),
    "WMA": lambda: encode("wmav2", "asf"),
    "WebM": lambda: encode("libopus", "webm"),
    "m4a": lambda: encode("aac", "ipod"),
    "3gp": lambda: encode("libopencore_amrnb", "3gp"),
    "wavpack": lambda: encode("wavpack", "wv"),
    "tta": lambda: encode("tta", "tta"),
    "RealMedia": lambda: encode("ac3", "rm"),
    "avi": lambda: encode("libmp3lame", "avi"),
    "flv": lambda: encode("aac", "flv"),
}


@pytest.mark.parametrize("kind", MEDIA)
def test_what_libsndfile_does_not_read_ffmpeg_does_from_any_source(
    kind: str, tmp_path: Path
) -> None:
    data = MEDIA[kind]()
    with pytest.raises(soundfile.SoundFileError):
        soundfile.SoundFile(io.BytesIO(data))
    (tmp_path / "a.wav").write_bytes(data)
    read = read_audio(tmp_path / "a.wav")
    assert is_the_tone(read)
    assert abs(audio_info(data).duration_s - 2.0) < 0.15
    for source in (data, io.BytesIO(data), bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(read_audio(source), read)


@pytest.mark.parametrize(
    ("kind", "told_s"), [("m4a", 2.0), ("WebM", 2.0), ("tta", 2.0), ("AAC", None), ("AMR", None)]
)
def test_a_header_tells_how_long_a_clip_is_without_decoding(
    kind: str, told_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = MEDIA[kind]()
    monkeypatch.setattr("mvector.audio.decoding.media_blocks", lambda *_: None)
    told = header_duration(data)
    assert told == (told_s and pytest.approx(told_s, abs=0.15))


def test_of_what_libsndfile_reads_the_header_tells_the_very_length() -> None:
    assert header_duration((tone(1.5), RATE)) == 1.5
    stream = io.BytesIO()
    soundfile.write(stream, tone(1.5), RATE, format="WAV")
    assert header_duration(stream.getvalue()) == 1.5


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("OGG", "OPUS")])
def test_a_misleading_name_does_no_harm(kind: str, subtype: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip", tone(), RATE, format=kind, subtype=subtype)
    expected = read_audio(tmp_path / "clip")
    for name in ("a.m4a", "a.raw", "a.amr", "a.flac", "ä\udc80.wav"):
        (tmp_path / name).write_bytes((tmp_path / "clip").read_bytes())
        np.testing.assert_array_equal(read_audio(tmp_path / name), expected)


@pytest.mark.parametrize("name", ["a.mp3", "a.au", "a.vox", "a.gsm", "a.flac"])
def test_no_suffix_makes_media_something_else(name: str, tmp_path: Path) -> None:
    for kind in MEDIA:
        data = MEDIA[kind]()
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_audio(tmp_path / name), read_audio(data))


def test_a_file_object_is_read_from_where_it_stands() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, tone(), RATE, format="WAV")
    behind = io.BytesIO(b"some header" + stream.getvalue())
    behind.seek(len(b"some header"))
    np.testing.assert_array_equal(read_audio(behind), read_audio(stream.getvalue()))
    assert behind.tell() == len(b"some header")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "#EXTM3U\n{path}\n",
        "[playlist]\nFile1={path}\nNumberOfEntries=1\n",
    ],
)
def test_a_playlist_opens_no_other_file(playlist: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    (tmp_path / "list.m4a").write_text(playlist.format(path=tmp_path / "a.wav"))
    with raises_code("audio-undecodable"):
        read_audio(tmp_path / "list.m4a")


NOT_AUDIO = {
    "zeros": bytes(50_000),
    "noise": np.random.default_rng(0).bytes(50_000),
    "words": b"hello " * 9000,
}


@pytest.mark.parametrize("content", NOT_AUDIO.values(), ids=NOT_AUDIO.keys())
def test_what_is_no_audio_is_not_taken_for_some(content: bytes) -> None:
    with raises_code("audio-undecodable"):
        read_audio(content)


def test_without_pyav_text_is_no_audio_and_anything_else_may_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match="is not audio that can be decoded: it is text"):
        read_audio(b"#EXTM3U hello\n" * 50)
    for content in (b"#!AMR\n\x3c" + bytes(300), b"\xff\xf1\x60\x40" + bytes(300)):
        with raises_code("missing-dependency"):
            read_audio(content)


def test_the_pauses_of_a_telephone_are_part_of_the_clip() -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    if "libopencore_amrnb" not in av.codecs_available:
        pytest.skip("this FFmpeg cannot decode pauses of AMR")
    clip = Path(__file__).parent / "telephone_pauses.amr"  # 215 frames of 20 ms, 11 of them pauses
    assert len(read_audio(clip, 8000)) == 215 * 160


@pytest.mark.parametrize("container", ["matroska", "ogg"])
def test_packets_that_cannot_be_decoded_are_left_out_and_counted(
    container: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = encode("flac", container)
    data = encode("flac", container, spoil=lambda number: number == 3)
    with caplog.at_level(logging.WARNING, "mvector"):
        read = read_audio(data)
    (record,) = caplog.records
    assert record.getMessage().endswith("1 of 28 packets cannot be decoded and are left out.")
    assert len(read_audio(whole)) - len(read) == 1152  # the samples of a packet of FLAC
    np.testing.assert_array_equal(read[: 3 * 1152], read_audio(whole)[: 3 * 1152])


def test_a_clip_of_packets_that_mostly_cannot_be_decoded_is_damaged() -> None:
    with pytest.raises(AudioError, match=r"is damaged: 1\d of its 28 packets cannot be decoded"):
        read_audio(encode("flac", "matroska", spoil=lambda number: number > 9))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_of_the_shell_is_read_and_one_with_a_name_is_not(tmp_path: Path) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, tone(0.5), RATE, format="WAV")
    reading, writing = os.pipe()
    os.write(writing, stream.getvalue())
    os.close(writing)
    once = buffer_unseekable(f"/dev/fd/{reading}", AudioLimits())
    os.close(reading)
    for _ in range(2):  # as enrolling does, which measures the clip and stores it
        assert len(read_audio(once)) == RATE // 2
    reading, writing = os.pipe()
    os.write(writing, stream.getvalue())
    os.close(writing)
    assert len(read_audio(f"/dev/fd/{reading}")) == RATE // 2
    os.close(reading)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(AudioError, match=r"not a file but a named pipe; .* standard input"):
        read_audio(tmp_path / "fifo")
