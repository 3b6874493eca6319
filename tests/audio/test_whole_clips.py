"""A header that promises more than the file holds is noticed in every format that has one."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from media_clips import RATE, encode, is_the_tone, tone
from test_hostile_audio import flac_with_header

from mvector.audio import audio_info, read_audio
from mvector.errors import AudioError

UNCOMPRESSED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "SVX", "AU", "CAF", "VOC", "NIST")
MEDIA = {
    "m4a": ("aac", "ipod", {"moov_size": "9000"}),
    "WebM": ("libopus", "webm", {}),
    "mka": ("flac", "matroska", {}),
    "tta": ("tta", "tta", {}),
    "flv": ("aac", "flv", {}),
    "G.726 in wav": ("g726", "wav", {}),
}


def written(kind: str, duration_s: float = 2.0) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(duration_s), RATE, format=kind, subtype="PCM_16")
    return stream.getvalue()


@pytest.mark.parametrize("kind", UNCOMPRESSED)
def test_a_file_that_was_cut_off_is_cut_short(kind: str) -> None:
    data = written(kind)[:40_000]
    words = r"is cut short: its header promises 2\.00 s, only 1\.[12]\d s can be decoded"
    with pytest.raises(AudioError, match=words):
        read_audio(data)
    if kind != "CAF":  # which only FFmpeg opens without its end
        assert abs(audio_info(data).duration_s - 2.0) < 0.01  # what the header says
    np.testing.assert_allclose(read_audio(data, duration_s=1.0), tone(1.0), atol=2**-14)


@pytest.mark.parametrize("kind", MEDIA)
def test_what_ffmpeg_reads_is_cut_short_by_the_same_rule(kind: str) -> None:
    codec, container, options = MEDIA[kind]
    data = encode(codec, container, duration_s=4.0, options=options)
    assert is_the_tone(read_audio(data), 4.0)
    cut = data[: len(data) * 6 // 10]
    with pytest.raises(AudioError, match=r"is cut short: its header promises (3\.9|4\.)"):
        read_audio(cut)
    assert is_the_tone(read_audio(cut, duration_s=1.0), 1.0)


@pytest.mark.parametrize("kind", UNCOMPRESSED)
def test_less_than_half_a_second_may_be_missing_where_all_else_can_be_decoded(kind: str) -> None:
    assert abs(len(read_audio(written(kind)[:-12_000])) - 2 * RATE + 6000) < 300


def with_sizes(data: bytes, whole: int | None, samples: int) -> bytes:
    """A wav with other sizes in its header."""
    changed = bytearray(data)
    if whole is not None:
        struct.pack_into("<I", changed, 4, whole)
    struct.pack_into("<I", changed, changed.index(b"data") + 4, samples)
    return bytes(changed)


@pytest.mark.parametrize(
    ("whole", "samples"),
    [
        (0, 0),
        (None, 0),
        (8, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (None, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),  # as SoX writes it
        (0x80000024, 0x80000000),
        (0xFFFFFFFF, 0xFFFFFFDB),
    ],
)
def test_a_wav_written_to_a_pipe_promises_nothing_and_is_read_whole(
    whole: int | None, samples: int
) -> None:
    data = written("WAV")
    for given in (with_sizes(data, whole, samples), io.BytesIO(with_sizes(data, whole, samples))):
        np.testing.assert_array_equal(read_audio(given), read_audio(data))
    assert audio_info(with_sizes(data, whole, samples)).duration_s == 2.0


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        *(("pcm_s16be", "aiff"), ("pcm_s16be", "au"), ("pcm_s16be", "caf"), ("pcm_s16le", "w64")),
        *(("pcm_s16le", "wav"), ("flac", "flac"), ("flac", "matroska"), ("aac", "flv")),
    ],
)
def test_whatever_is_written_to_a_pipe_is_read_whole(codec: str, container: str) -> None:
    assert is_the_tone(read_audio(encode(codec, container, to_pipe=True)))


def test_a_flac_of_unknown_length_is_read_whole_or_in_part() -> None:
    clip, whole = flac_with_header(0), read_audio(flac_with_header(4800))
    np.testing.assert_array_equal(read_audio(clip), whole)
    np.testing.assert_array_equal(read_audio(clip, offset_s=0.1, duration_s=0.1), whole[1600:3200])
    assert audio_info(clip).duration_s == 0.3
    with pytest.raises(AudioError, match=r"ends before 9 s"):
        read_audio(clip, offset_s=9.0)


def test_a_size_of_nothing_is_true_where_only_other_chunks_follow() -> None:
    empty = written("WAV", 0.0) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio(empty)
