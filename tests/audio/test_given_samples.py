"""Samples as the libraries around give them, and one sentence for what are none."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mvector.audio import AudioLimits, read_audio, write_wav
from mvector.errors import AudioError, MVectorError

RATE = 16000
SAMPLES = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
STEREO = np.stack([SAMPLES, SAMPLES[::-1]])  # (channels, samples)
TENSOR = torch.from_numpy(SAMPLES)


@pytest.mark.parametrize(
    "source",
    [
        SAMPLES,
        TENSOR,
        (SAMPLES, RATE),
        (RATE, SAMPLES),  # scipy.io.wavfile.read, and Gradio
        (np.int64(RATE), SAMPLES),
        (np.array(RATE), SAMPLES),
        (TENSOR, torch.tensor(RATE)),
        (SAMPLES.tolist(), RATE),
        (float(RATE), SAMPLES[None]),
        SAMPLES[:, None],
        TENSOR[None],
        TENSOR[:, None],
        np.stack([SAMPLES] * 4),
        torch.stack([TENSOR] * 4, dim=1),
    ],
    ids=repr,
)
def test_a_clip_is_its_samples_however_they_are_handed_over(source: Any) -> None:
    np.testing.assert_allclose(read_audio(source), SAMPLES, atol=1e-7)


@pytest.mark.parametrize("stereo", [STEREO, STEREO.T, torch.from_numpy(STEREO)], ids=repr)
def test_the_short_axis_is_that_of_the_channels(stereo: Any) -> None:
    np.testing.assert_allclose(read_audio((stereo, RATE)), STEREO.mean(axis=0), atol=1e-7)


def test_of_two_long_axes_neither_is_time() -> None:
    with pytest.raises(AudioError, match="has 100 channels"):
        read_audio(np.zeros((100, 100), dtype=np.float32))


def test_integers_are_scaled_whatever_stands_first() -> None:
    integers = (SAMPLES * 32768).astype(np.int16)
    expected = integers / np.float32(32768)
    for source in ((integers, RATE), (RATE, integers), (RATE, np.stack([integers, integers]))):
        np.testing.assert_array_equal(read_audio(source), expected)


def test_a_tensor_has_the_rate_beside_it() -> None:
    assert len(read_audio((TENSOR, 8000))) == len(read_audio((8000, TENSOR))) == 2 * RATE


def closed_file() -> io.BytesIO:
    stream = io.BytesIO(b"RIFF")
    stream.close()
    return stream


class Broken(io.RawIOBase):
    """A stream that cannot seek, and whose other end is gone."""

    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError("connection reset")


NO_CLIPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a rate that is no number": (lambda: (SAMPLES, math.nan), "has the rate nan; give a number"),
    "no rate": (lambda: (SAMPLES, None), "has the rate None"),
    "a name for a rate": (lambda: (SAMPLES, "a"), "has the rate 'a'"),
    "an infinite rate": (lambda: (SAMPLES, math.inf), "has the rate inf"),
    "a tuple of samples": (lambda: (0.1, 0.2, 0.3), r"is a tuple \(float, float, float\)"),
    "two arrays": (lambda: (SAMPLES, SAMPLES), r"is a tuple \(ndarray, ndarray\)"),
    "nothing": (lambda: (), r"is a tuple \(\)"),
    "a list": (lambda: [0.1, 0.2], "Cannot read audio from list"),
    "None": (lambda: None, "Cannot read audio from NoneType"),
    "a ragged list": (lambda: ([[1.0], [1.0, 2.0]], RATE), "cannot be used as an array"),
    "words": (lambda: (["a", "b"], RATE), "has type <U1; use float32"),
    "objects": (lambda: np.array([None, {}]), "has type object"),
    "complex numbers": (lambda: SAMPLES + 1j, "has type complex"),
    "a meta tensor": (lambda: torch.zeros(9, device="meta"), "cannot be used as an array"),
    "a sparse tensor": (lambda: torch.eye(40).to_sparse(), "cannot be used as an array"),
    "a nested tensor": (
        lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(4)]),
        "cannot be used as an array|has shape",
    ),
    "one number": (lambda: np.array(0.5), r"has shape \(\)"),
    "a cube": (lambda: np.zeros((2, 2, 2)), r"has shape \(2, 2, 2\)"),
    "samples beyond float32": (lambda: np.full(RATE, 1e300), "infinite"),
    "a closed file": (closed_file, "cannot be read: I/O operation on closed file"),
    "a file of text": (lambda: io.StringIO("RIFF"), "open it in binary mode"),
    "a lost connection": (lambda: Broken(), "cannot be read: connection reset"),
    "a path with NUL": (lambda: "a\0.wav", "cannot be opened: embedded null byte"),
    "no bytes": (lambda: bytearray(), "is empty"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", NO_CLIPS)
def test_what_is_no_clip_is_refused_in_one_sentence(kind: str) -> None:
    make, words = NO_CLIPS[kind]
    with pytest.raises(AudioError, match=words) as caught:
        read_audio(make())
    assert "\n" not in str(caught.value)


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end(tmp_path: Path) -> None:
    class Slow(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = data

        def read(self, size: int = -1) -> bytes:
            given, self.rest = self.rest[:1000], self.rest[1000:]
            return given

    path = tmp_path / "a.wav"
    write_wav(path, SAMPLES, RATE)
    np.testing.assert_array_equal(read_audio(Slow(path.read_bytes())), read_audio(path))


@pytest.mark.parametrize("value", [math.nan, -1, 0, None, "3", True])
def test_limits_are_numbers_above_zero(value: Any) -> None:
    with pytest.raises(MVectorError, match=r"AudioLimits: max_duration_s is .*; give a number"):
        AudioLimits(max_duration_s=value)


@pytest.mark.parametrize(
    ("limit", "words"),
    [(0.5, r"1 s, and at most 0\.5 s"), (0.01, r"1 s, and at most 0\.01 s")],
)
def test_what_is_too_long_is_told_in_a_unit_that_shows_it(limit: float, words: str) -> None:
    with pytest.raises(AudioError, match=f"claims to last {words} are decoded"):
        read_audio(SAMPLES, limits=AudioLimits(max_duration_s=limit))


@pytest.mark.parametrize(
    "given",
    [
        {"offset_s": float("nan")},
        {"offset_s": "1"},
        {"duration_s": float("inf")},
        {"duration_s": float("nan")},
        {"sample_rate": 0},
        {"sample_rate": None},
        {"sample_rate": 10**9},
    ],
)
def test_a_stretch_or_rate_that_can_be_none_is_a_sentence(given: dict[str, Any]) -> None:
    with pytest.raises(AudioError, match="Cannot read"):
        read_audio(np.ones(16000, dtype=np.float32), **given)


def test_a_channel_may_be_a_number_of_numpy() -> None:
    two = np.stack([np.zeros(16000), np.full(16000, 0.5)], axis=1).astype(np.float32)
    np.testing.assert_array_equal(read_audio(two, channel=np.int64(1)), two[:, 1])


def test_a_file_open_for_writing_is_a_sentence(tmp_path: Path) -> None:
    with (
        open(tmp_path / "a.wav", "wb") as stream,
        pytest.raises(AudioError, match="cannot be read"),
    ):
        read_audio(stream)
