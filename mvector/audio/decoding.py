"""From any source to mono blocks at the clip's own rate, within limits, never more than needed."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import soundfile

from mvector.audio.limits import AudioLimits
from mvector.audio.media import av_blocks, av_layout, needs_av
from mvector.audio.samples import (
    BLOCK_SAMPLES,
    Samples,
    array_blocks,
    average_channels,
    is_samples,
    samples_and_rate,
)
from mvector.errors import AudioError

AudioSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Samples | tuple[Samples, int]"


@dataclass(frozen=True)
class AudioInfo:
    """Length, rate and channels of a clip."""

    duration_s: float
    sample_rate: int
    num_channels: int


@dataclass(frozen=True)
class NativeAudio:
    """A clip being decoded, in mono float32 blocks at its own rate.

    ``num_samples`` is the length of the whole clip, ``None`` where only decoding tells.
    """

    sample_rate: int
    num_channels: int
    num_samples: int | None
    blocks: Iterator[np.ndarray]


@contextmanager
def open_native(
    source: AudioSource,
    sample_rate: int,
    limits: AudioLimits,
    offset_s: float = 0.0,
    duration_s: float | None = None,
) -> Iterator[NativeAudio]:
    """Open a stretch of a clip; decoding it, block by block, is up to the caller.

    The arguments are those of :func:`mvector.audio.read_audio`; ``sample_rate`` is that of samples
    that come without one.

    Raises:
        AudioError: there and while decoding, as :func:`mvector.audio.read_audio`.
        MissingDependencyError: the format needs PyAV, which is not installed.
    """
    name = source_name(source)
    stretch = (offset_s, duration_s)
    if is_samples(source) or isinstance(source, tuple):
        samples, rate = samples_and_rate(source, sample_rate, limits, name)
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        blocks = array_blocks(samples, rate, limits, name, *stretch)
        yield NativeAudio(rate, channels, len(samples), blocks)
        return
    with _open_bytes(source, name, limits) as stream:
        if needs_av(source, stream):
            rate, channels = av_layout(stream, name, limits)
            yield NativeAudio(rate, channels, None, av_blocks(stream, name, limits, *stretch))
            return
        with _open_soundfile(stream, name) as clip:
            rate, channels = clip.samplerate, clip.channels
            limits.check_layout(rate, channels, name)
            blocks = _soundfile_blocks(clip, name, limits, *stretch)
            yield NativeAudio(rate, channels, clip.frames, blocks)


def source_name(source: AudioSource) -> str:
    """How messages call a source."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(source)}'"
    if isinstance(source, bytes):
        return f"the clip given as {len(source)} bytes"
    if isinstance(source, tuple) or is_samples(source):
        return "the clip given as an array"
    return f"'{getattr(source, 'name', 'the clip given as a file object')}'"


def _soundfile_blocks(
    clip: soundfile.SoundFile,
    name: str,
    limits: AudioLimits,
    offset_s: float,
    duration_s: float | None,
) -> Iterator[np.ndarray]:
    rate = clip.samplerate
    start = min(round(offset_s * rate), clip.frames)
    wanted = clip.frames - start
    if duration_s is not None:
        wanted = min(wanted, int(np.ceil(duration_s * rate)))
    limits.check_duration(wanted / rate, name)
    block_frames = BLOCK_SAMPLES // clip.channels
    decoded = 0
    while decoded < wanted:
        try:
            if start and not decoded:
                clip.seek(start)
            block = clip.read(min(block_frames, wanted - decoded), dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError, ValueError, OSError) as error:
            raise AudioError(
                f"{name} is damaged: it cannot be decoded to its end; copy or export it again.",
                code="audio-undecodable",
            ) from error
        if not len(block):
            break
        decoded += len(block)
        yield average_channels(block, name)
    # Lossy containers may overstate their length by a frame or two; half a second is damage
    if wanted - decoded > rate // 2:
        raise AudioError(
            f"{name} is cut short: its header promises {clip.frames / rate:.2f} s, only "
            f"{(start + decoded) / rate:.2f} s can be decoded; copy it again.",
            code="audio-undecodable",
        )


@contextmanager
def _open_soundfile(stream: BinaryIO, name: str) -> Iterator[soundfile.SoundFile]:
    try:
        clip = soundfile.SoundFile(stream)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OSError) as error:
        raise AudioError(
            f"{name} is not audio that can be decoded: its content is neither wav, flac, ogg nor "
            "mp3, or it is damaged.",
            code="audio-undecodable",
        ) from error
    with clip:
        yield clip


@contextmanager
def _open_bytes(source: Any, name: str, limits: AudioLimits) -> Iterator[BinaryIO]:
    """A seekable binary stream over any encoded source."""
    if isinstance(source, bytes):
        if not source:
            raise AudioError(f"{name} is empty.", code="audio-empty")
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        with _open_file(source, name) as stream:
            yield stream
    elif hasattr(source, "read"):
        if not source.seekable():
            yield io.BytesIO(read_stream(source, name, limits))
            return
        start = source.tell()
        yield source
        source.seek(start)  # the caller may read the same object again
    else:
        raise AudioError(
            f"Cannot read audio from {type(source).__name__}: give a path, bytes, a file object, "
            "an array or tensor, or (samples, rate)."
        )


def buffer_unseekable(source: AudioSource, limits: AudioLimits) -> AudioSource:
    """The source, or all bytes of one that can be read only once; see :func:`read_stream`."""
    once = hasattr(source, "read") and not is_samples(source) and not source.seekable()  # type: ignore[union-attr]
    return read_stream(source, source_name(source), limits) if once else source  # type: ignore[arg-type]


def read_stream(stream: BinaryIO, name: str, limits: AudioLimits) -> bytes:
    """All bytes of a stream that cannot seek.

    Raises:
        AudioError: there are none, or too many.
    """
    data = stream.read(limits.max_stream_bytes + 1)
    if not data:
        raise AudioError(f"{name} is empty.", code="audio-empty")
    if len(data) > limits.max_stream_bytes:
        raise AudioError(
            f"{name} goes on beyond {limits.max_stream_bytes:,} bytes; give a file, or raise "
            "AudioLimits.max_stream_bytes.",
            code="audio-beyond-limits",
        )
    return data


def _open_file(source: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):  # opening a pipe would wait for ever
            raise AudioError(f"{name} cannot be opened: it is not a file.")
        stream = open(source, "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise AudioError(
            f"{name} does not exist; check the path.", code="audio-not-found"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name} cannot be opened: {reason}.") from error
    if os.fstat(stream.fileno()).st_size == 0:
        stream.close()
        raise AudioError(f"{name} is an empty file; record or copy it again.", code="audio-empty")
    return stream
