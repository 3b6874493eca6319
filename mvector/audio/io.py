"""Decode any clip into the one form the rest of the package knows.

That form is: float32 in [-1, 1], mono, at the rate asked for, shape ``(samples,)``.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr

from mvector.errors import AudioError, MissingDependencyError
from mvector.files import write_atomically

AudioSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | tuple[np.ndarray, int]"

# What libsndfile does not read and FFmpeg (through PyAV) does.
MEDIA_SUFFIXES = {".m4a", ".aac", ".mp4", ".wma", ".amr", ".webm", ".mkv", ".mov", ".3gp", ".ac3"}
AUDIO_SUFFIXES = MEDIA_SUFFIXES | {".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".aiff", ".au"}

_INTEGER_SCALE = {"u1": 128.0, "i1": 128.0, "i2": 32768.0, "i4": 2147483648.0}


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a clip says, without decoding it."""

    duration_s: float
    sample_rate: int
    num_channels: int


def read_audio(
    source: AudioSource,
    sample_rate: int = 16000,
    *,
    offset_s: float = 0.0,
    duration_s: float | None = None,
) -> np.ndarray:
    """Decode a clip, or a part of it, to mono float32 at ``sample_rate``.

    Formats: wav, flac, ogg (vorbis, opus), mp3, aiff through libsndfile; m4a, aac, mp4, webm
    through PyAV where the ``media`` extra is installed. A partial read seeks, so three seconds of
    a one-hour file cost three seconds of decoding.

    Args:
        source: path, encoded bytes, binary file object, or ``(samples, rate)`` with samples of
            shape ``(n,)`` or ``(n, channels)``; integer samples are scaled to [-1, 1].
        sample_rate: rate of the result in Hz; resampled by soxr where the clip has another.
        offset_s: where to start, in seconds.
        duration_s: how much to read at most, in seconds; ``None`` reads to the end.

    Returns:
        float32 array of shape ``(samples,)``; channels are averaged.

    Raises:
        AudioError: the clip is missing, empty, not audio, damaged or holds NaN or infinity.
        MissingDependencyError: the format needs PyAV, which is not installed.
    """
    name = source_name(source)
    if offset_s < 0 or (duration_s is not None and duration_s <= 0):
        raise AudioError(
            f"Cannot read {duration_s} s from {offset_s} s of {name}: "
            "the offset must not be negative and the duration must be positive."
        )
    if isinstance(source, tuple):
        samples, rate = _from_array(source, name)
        start = round(offset_s * rate)
        stop = None if duration_s is None else start + int(np.ceil(duration_s * rate))
        samples = samples[start:stop]
    else:
        samples, rate = _decode(source, name, offset_s, duration_s)
    if samples.size == 0:
        raise AudioError(
            f"{name} ends before {offset_s:g} s." if offset_s else f"{name} holds no samples."
        )
    if samples.ndim == 2:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise AudioError(
            f"{name} holds {bad} samples that are NaN or infinite; export the clip again."
        )
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate)
        if duration_s is not None:
            samples = samples[: round(duration_s * sample_rate)]
    return np.ascontiguousarray(samples, dtype=np.float32)


def audio_info(source: AudioSource) -> AudioInfo:
    """Duration, rate and channels from the header alone.

    Raises:
        AudioError: the clip is missing, empty or not audio.
        MissingDependencyError: the format needs PyAV, which is not installed.
    """
    name = source_name(source)
    if isinstance(source, tuple):
        samples, rate = _from_array(source, name)
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        return AudioInfo(len(samples) / rate, rate, channels)
    with _open_bytes(source, name) as stream:
        if _needs_av(source, stream):
            samples, rate = _decode_av(stream, name, 0.0, None)
            return AudioInfo(len(samples) / rate, rate, samples.shape[1])
        with _open_soundfile(stream, name) as clip:
            return AudioInfo(clip.frames / clip.samplerate, clip.samplerate, clip.channels)


def write_wav(path: str | os.PathLike[str], waveform: np.ndarray, sample_rate: int) -> None:
    """Write mono samples in [-1, 1] as 16-bit wav; the file appears whole or not at all.

    Raises:
        AudioError: the folder cannot be written to.
    """

    def write(file: Path) -> None:
        soundfile.write(file, waveform, sample_rate, format="WAV", subtype="PCM_16")

    try:
        write_atomically(Path(path), write)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"Cannot write '{os.fspath(path)}': {error}.") from error


def source_name(source: AudioSource) -> str:
    """How messages call a source."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(source)}'"
    if isinstance(source, bytes):
        return f"the clip given as {len(source)} bytes"
    if isinstance(source, tuple):
        return "the clip given as an array"
    return f"'{getattr(source, 'name', 'the clip given as a file object')}'"


def _from_array(source: tuple[np.ndarray, int], name: str) -> tuple[np.ndarray, int]:
    samples, rate = np.asarray(source[0]), _checked_rate(int(source[1]), name)
    if samples.ndim not in (1, 2):
        raise AudioError(
            f"{name} has shape {samples.shape}; expected (samples,) or (samples, channels)."
        )
    if samples.dtype.kind in "iu":
        scale = _INTEGER_SCALE.get(samples.dtype.str[1:])
        if scale is None:
            raise AudioError(f"{name} has type {samples.dtype}; use float32, int16 or int32.")
        centred = samples.astype(np.float32) - (128.0 if samples.dtype.kind == "u" else 0.0)
        return centred / np.float32(scale), rate
    if samples.dtype.kind != "f":
        raise AudioError(f"{name} has type {samples.dtype}; use float32, int16 or int32.")
    return samples.astype(np.float32), rate


def _decode(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    name: str,
    offset_s: float,
    duration_s: float | None,
) -> tuple[np.ndarray, int]:
    with _open_bytes(source, name) as stream:
        if _needs_av(source, stream):
            return _decode_av(stream, name, offset_s, duration_s)
        with _open_soundfile(stream, name) as clip:
            rate = _checked_rate(clip.samplerate, name)
            start = min(round(offset_s * rate), clip.frames)
            wanted = clip.frames - start
            if duration_s is not None:
                wanted = min(wanted, int(np.ceil(duration_s * rate)))
            try:
                if start:
                    clip.seek(start)
                samples = clip.read(wanted, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise AudioError(
                    f"{name} is damaged: it cannot be decoded to its end; copy or export it again."
                ) from error
            # Lossy containers may overstate their length by a frame or two; half a second is damage
            if wanted - len(samples) > rate // 2:
                raise AudioError(
                    f"{name} is cut short: its header promises {clip.frames / rate:.2f} s, only "
                    f"{(start + len(samples)) / rate:.2f} s can be decoded; copy it again."
                )
            return samples, rate


@contextmanager
def _open_bytes(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """A seekable binary stream over any encoded source."""
    if isinstance(source, bytes):
        if not source:
            raise AudioError(f"{name} is empty.")
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        try:
            if not stat.S_ISREG(os.stat(source).st_mode):  # opening a pipe would wait for ever
                raise AudioError(f"{name} cannot be opened: it is not a file.")
            stream = open(source, "rb")  # noqa: SIM115 - closed by the with below
        except FileNotFoundError as error:
            raise AudioError(f"{name} does not exist; check the path.") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"{name} cannot be opened: {reason}.") from error
        with stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise AudioError(f"{name} is an empty file; record or copy it again.")
            yield stream
    elif hasattr(source, "read"):
        if not source.seekable():
            yield io.BytesIO(source.read())
            return
        start = source.tell()
        yield source
        source.seek(start)  # the caller may read the same object again
    else:
        raise AudioError(
            f"Cannot read audio from {type(source).__name__}: give a path, bytes, a file object "
            "or (samples, rate)."
        )


def _checked_rate(rate: int, name: str) -> int:
    if not 1_000 <= rate <= 1_000_000:
        raise AudioError(
            f"{name} has the sample rate {rate} Hz; rates from 1 kHz to 1 MHz are sound."
        )
    return rate


def _open_soundfile(stream: BinaryIO, name: str) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(stream)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise AudioError(
            f"{name} is not audio that can be decoded: its content is neither wav, flac, ogg nor "
            "mp3, or it is damaged."
        ) from error


def _needs_av(source: object, stream: BinaryIO) -> bool:
    position = stream.tell()
    head = stream.read(12)
    stream.seek(position)
    if head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3":  # MP4 family; Matroska and WebM
        return True
    if head[:4] in (b"RIFF", b"fLaC", b"OggS") or head[:3] == b"ID3":
        return False
    return isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in MEDIA_SUFFIXES


def _decode_av(
    stream: BinaryIO, name: str, offset_s: float, duration_s: float | None
) -> tuple[np.ndarray, int]:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is in a format that needs PyAV: pip install 'mvector[media]', "
            "or convert the clip to wav, flac or mp3."
        ) from error
    blocks: list[np.ndarray] = []
    rate, num_samples = 0, 0
    end_s = None if duration_s is None else offset_s + duration_s
    try:
        with av.open(stream) as container:
            if not container.streams.audio:
                raise AudioError(f"{name} has no audio track.")
            converter = av.AudioResampler(format="fltp")
            for frame in container.decode(container.streams.audio[0]):
                for converted in converter.resample(frame):
                    blocks.append(converted.to_ndarray().T)
                    rate = converted.sample_rate
                    num_samples += len(blocks[-1])
                if end_s is not None and num_samples >= end_s * rate:
                    break
    except av.FFmpegError as error:
        raise AudioError(f"{name} is not audio that can be decoded, or it is damaged.") from error
    if not blocks:
        raise AudioError(f"{name} holds no samples.")
    start = round(offset_s * rate)
    stop = None if duration_s is None else start + int(np.ceil(duration_s * rate))
    return np.concatenate(blocks)[start:stop], rate
