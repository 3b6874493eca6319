"""Formats that only FFmpeg reads, through PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mvector.audio.limits import AudioLimits
from mvector.audio.samples import average_channels
from mvector.errors import AudioError, import_errors_as

# What libsndfile does not read and FFmpeg does.
MEDIA_SUFFIXES = {".m4a", ".aac", ".mp4", ".wma", ".amr", ".webm", ".mkv", ".mov", ".3gp", ".ac3"}
# FFmpeg also knows playlists, which make it open other files and addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,amr,amrnb,amrwb,ac3,eac3"


def needs_av(source: object, stream: BinaryIO) -> bool:
    """Whether a stream is in a format that libsndfile does not read."""
    position = stream.tell()
    head = stream.read(12)
    stream.seek(position)
    if head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3":  # MP4 family; Matroska and WebM
        return True
    if head[:4] in (b"RIFF", b"fLaC", b"OggS") or head[:3] == b"ID3":
        return False
    return isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in MEDIA_SUFFIXES


@contextmanager
def _open_av(stream: BinaryIO, name: str) -> Iterator[Any]:
    with import_errors_as(
        f"{name} is in a format that needs PyAV: pip install av, "
        "or convert the clip to wav, flac or mp3."
    ):
        import av
    position = stream.tell()
    try:
        with av.open(stream, options={"format_whitelist": _FORMATS}) as container:
            if not container.streams.audio:
                raise AudioError(f"{name} has no audio track.", code="audio-undecodable")
            yield container
    except (av.FFmpegError, ValueError, OSError, UnicodeDecodeError) as error:
        raise AudioError(
            f"{name} is not audio that can be decoded, or it is damaged.", code="audio-undecodable"
        ) from error
    finally:
        stream.seek(position)


def av_layout(stream: BinaryIO, name: str, limits: AudioLimits) -> tuple[int, int]:
    """Rate and channels; the duration is not known before all is decoded."""
    with _open_av(stream, name) as container:
        track = container.streams.audio[0]
        rate, channels = int(track.rate or 0), int(track.channels or 0)
    limits.check_layout(rate, channels, name)
    return rate, channels


def av_blocks(
    stream: BinaryIO, name: str, limits: AudioLimits, offset_s: float, duration_s: float | None
) -> Iterator[np.ndarray]:
    """Decodes from the beginning: these formats do not seek to the sample."""
    import av

    position = 0
    with _open_av(stream, name) as container:
        track = container.streams.audio[0]
        rate = int(track.rate)
        start = round(offset_s * rate)
        stop = np.inf if duration_s is None else start + int(np.ceil(duration_s * rate))
        converter = av.AudioResampler(format="fltp", rate=rate)
        for frame in container.decode(track):
            for converted in converter.resample(frame):
                samples = converted.to_ndarray().T
                first, last = max(0, start - position), min(len(samples), stop - position)
                position += len(samples)
                if first < last:
                    limits.check_duration((position - start) / rate, name)
                    yield average_channels(samples[int(first) : int(last)], name)
            if position >= stop:
                break
    if not position:
        raise AudioError(f"{name} holds no samples.", code="audio-empty")
