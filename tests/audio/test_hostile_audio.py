"""Absurd headers, decompression bombs and damaged files: bounded, and one sentence each."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from error_codes import raises_code
from media_clips import encode

from mvector.audio import AudioLimits, audio_info, audio_windows, read_audio
from mvector.errors import AudioError

RATE = 16000
NUM_CASES = 1000  # of each format


def encoded(kind: str, subtype: str, *, seconds: float = 0.3, channels: int = 1) -> bytes:
    generator = np.random.default_rng(1)
    samples = 0.3 * generator.uniform(-1, 1, (round(seconds * RATE), channels))
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=kind, subtype=subtype)
    return stream.getvalue()


def flac_with_header(num_samples: int, rate: int = RATE) -> bytes:
    """A sound FLAC file whose STREAMINFO claims another length and rate."""
    data = bytearray(encoded("FLAC", "PCM_16"))
    packed = struct.unpack(">Q", data[18:26])[0]
    channels_and_bits = (packed >> 36) & 0xFF
    data[18:26] = struct.pack(">Q", rate << 44 | channels_and_bits << 36 | num_samples)
    return bytes(data)


def wav_with_header(rate: int, channels: int) -> bytes:
    data = bytearray(encoded("WAV", "PCM_16"))
    struct.pack_into("<HII", data, 22, channels, rate, rate * channels * 2)
    struct.pack_into("<H", data, 32, channels * 2)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (flac_with_header(10 * 3600 * RATE), r"claims to last 10 h, and at most 4 h"),
        (flac_with_header((1 << 36) - 1), r"claims to last 1,193 h"),
        (wav_with_header(1_000_000, 1), "has the sample rate 1000000 Hz; rates from 1,000 to 384,"),
        (wav_with_header(RATE, 64), "has 64 channels, and at most 16 are read; mix them down"),
    ],
)
def test_absurd_headers_are_refused_before_anything_is_allocated(data: bytes, words: str) -> None:
    tracemalloc.start()
    with pytest.raises(AudioError, match=words):
        read_audio(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_claim_within_the_limit_costs_what_can_be_decoded() -> None:
    tracemalloc.start()
    with raises_code("audio-undecodable"):
        read_audio(flac_with_header(3 * 3600 * RATE))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_bomb_of_silence_is_refused_and_a_part_of_it_can_be_read(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "bomb.flac", "w", 1000, 1) as clip:
        for _ in range(5):
            clip.write(np.zeros(3600 * 1000, dtype=np.int16))  # five hours at 1 kHz
    assert (tmp_path / "bomb.flac").stat().st_size < 200_000
    with raises_code("audio-beyond-limits"):
        read_audio(tmp_path / "bomb.flac")
    with raises_code("audio-beyond-limits"):
        next(audio_windows(tmp_path / "bomb.flac", window_s=60.0))
    assert len(read_audio(tmp_path / "bomb.flac", offset_s=16000.0, duration_s=2.0)) == 2 * RATE
    relaxed = AudioLimits(max_duration_s=6 * 3600)
    assert len(read_audio(tmp_path / "bomb.flac", 1000, limits=relaxed)) == 5 * 3600 * 1000


def test_limits_can_be_raised_and_lowered() -> None:
    many = encoded("WAV", "PCM_16", channels=20)
    with raises_code("audio-beyond-limits"):
        audio_info(many)
    assert len(read_audio(many, limits=AudioLimits(max_channels=20))) == 4800
    with raises_code("audio-beyond-limits"):
        read_audio((np.zeros(RATE), RATE), limits=AudioLimits(max_duration_s=0.5))


def test_rate_and_channels_together_are_held_to_what_a_second_may_cost() -> None:
    limits = AudioLimits(max_samples_per_s=8 * RATE)
    assert len(read_audio(encoded("WAV", "PCM_16", channels=8), limits=limits)) == 4800
    with pytest.raises(AudioError, match=r"9 channels at 16,000 Hz, and at most 128,000 samples"):
        read_audio(encoded("WAV", "PCM_16", channels=9), limits=limits)


def test_a_pipe_without_end_is_cut_off() -> None:
    class Pipe(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size < 5000
            return bytes(size)

    with pytest.raises(AudioError, match="goes on beyond 4,096 bytes"):
        read_audio(Pipe(), limits=AudioLimits(max_stream_bytes=4096))


@pytest.mark.parametrize("value", [np.inf, 1e30])
def test_samples_that_no_arithmetic_survives_are_refused(value: float) -> None:
    with pytest.raises(AudioError, match=r"infinite|where full scale is 1"):
        read_audio((np.full(RATE, value, dtype=np.float32), RATE))


@pytest.mark.parametrize(("rate", "kind"), [(RATE, "WAV"), (44100, "FLAC"), (8000, "FLAC")])
def test_windows_joined_are_the_clip(rate: int, kind: str) -> None:
    samples = 0.5 * np.random.default_rng(0).uniform(-1, 1, 5 * rate)
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype="PCM_16")
    stream.seek(0)
    windows = list(audio_windows(stream, RATE, window_s=0.7))
    assert {len(window) for window in windows[:-1]} == {round(0.7 * RATE)}
    np.testing.assert_allclose(np.concatenate(windows), read_audio(stream, RATE), atol=1e-5)


SEEDS = {
    "wav": ("WAV", "PCM_16"),
    "float wav": ("WAV", "FLOAT"),
    "adpcm wav": ("WAV", "MS_ADPCM"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Bytes changed, mostly in the headers, stretches cut out, doubled or swapped, the end cut."""
    changed = bytearray(data)
    for _ in range(generator.integers(1, 9)):
        reach = min(len(changed), 64 if generator.random() < 0.6 else len(changed))
        place = int(generator.integers(reach))
        width = int(generator.integers(1, 9))
        kind = generator.integers(5)
        if kind == 0:
            changed[place : place + width] = generator.bytes(width)
        elif kind == 1:
            changed[place : place + width] = (
                bytes([generator.choice([0, 0x7F, 0x80, 0xFF])]) * width
            )
        elif kind == 2:
            del changed[place : place + width * int(generator.integers(1, 100))]
        elif kind == 3:
            changed[place:place] = changed[place : place + 16 * width]
        else:
            del changed[int(generator.integers(len(changed))) :]
        if not changed:
            return b"RIFF"
    return bytes(changed)


def flipped(data: bytes, generator: np.random.Generator) -> bytes:
    """Single bits changed, half of them in the headers."""
    changed = bytearray(data)
    for _ in range(generator.integers(1, 20)):
        reach = min(len(changed), 600) if generator.random() < 0.5 else len(changed)
        changed[generator.integers(reach)] ^= 1 << int(generator.integers(8))
    return bytes(changed)


MEDIA_SEEDS = {
    "m4a": ("aac", "ipod"),
    "webm": ("libopus", "webm"),
    "aac": ("aac", "adts"),
    "amr": ("libopencore_amrnb", "amr"),
    "3gp": ("libopencore_amrnb", "3gp"),
    "wma": ("wmav2", "asf"),
    "FLAC in Ogg": ("flac", "ogg"),
    "G.726 in wav": ("g726", "wav"),
}
NUM_MEDIA_CASES = 60  # of each format: opening one takes FFmpeg milliseconds


@pytest.mark.parametrize("kind", [*SEEDS, *MEDIA_SEEDS])
def test_whatever_is_done_to_a_file_only_an_audio_error_comes_out(kind: str) -> None:
    generator = np.random.default_rng(len(kind))
    if kind in SEEDS:
        data, num_cases = encoded(*SEEDS[kind]), NUM_CASES
    else:
        data, num_cases = encode(*MEDIA_SEEDS[kind], duration_s=0.3), NUM_MEDIA_CASES
    num_refused = 0
    for number in range(num_cases):
        spoil = flipped if number % 3 == 0 else mutated
        try:
            read = read_audio(spoil(data, generator))
        except AudioError:
            num_refused += 1
        else:
            assert read.dtype == np.float32
            assert np.isfinite(read).all()
            assert len(read) < 20 * 0.3 * RATE  # whatever a header claims
    assert num_refused > 0
