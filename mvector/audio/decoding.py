"""From any source to blocks at the clip's own rate, within limits, never more than needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile

from mvector.audio.damage import check_whole, undecodable
from mvector.audio.headers import read_data_size
from mvector.audio.limits import AudioLimits
from mvector.audio.media import MediaClip, media_blocks, open_media
from mvector.audio.samples import (
    BLOCK_SAMPLES,
    array_blocks,
    is_samples,
    samples_and_rate,
)
from mvector.audio.sources import AudioSource, ClipStream, open_encoded, source_name

_UNKNOWN_LENGTH = (1 << 63) - 1  # what libsndfile says of a FLAC whose header leaves it open


@dataclass(frozen=True)
class AudioInfo:
    """Length, rate and channels of a clip."""

    duration_s: float
    sample_rate: int
    num_channels: int


@dataclass(frozen=True)
class NativeAudio:
    """A clip being decoded, in float32 blocks ``(samples,)`` or ``(samples, channels)``.

    ``num_samples`` is the length of the whole clip, ``None`` where only decoding tells; then it
    is ``media``, which may know about how long it is.
    """

    sample_rate: int
    num_channels: int
    num_samples: int | None
    blocks: Iterator[np.ndarray]
    media: MediaClip | None = None

    @property
    def told_s(self) -> float:
        """How long the header says that the clip is, in seconds; 0 where it says nothing."""
        if self.num_samples is not None:
            return self.num_samples / self.sample_rate
        return 0.0 if self.media is None else self.media.promised_s


class _SoundFile(soundfile.SoundFile):
    """Reads block behind block: of a seekable one, each block is followed by a seek to its end,
    which fails at the end of a clip of unknown length and unsettles lossy decoders."""

    def seekable(self) -> bool:
        return False


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
    with open_encoded(source, limits) as stream:
        size = read_data_size(stream)
        ratio = 1.0 if size is None else size.ratio
        if size is not None and size.is_open:
            stream.patch(size.place, size.field)
        opened = _open_soundfile(stream)
        if opened is None:
            with open_media(stream, name) as media:
                rate, channels = media.sample_rate, media.num_channels
                limits.check_layout(rate, channels, name)
                blocks = media_blocks(media, name, limits, *stretch, ratio)
                yield NativeAudio(rate, channels, None, blocks, media)
            return
        with opened as clip:
            rate, channels = clip.samplerate, clip.channels
            limits.check_layout(rate, channels, name)
            length = None if clip.frames >= _UNKNOWN_LENGTH else round(clip.frames * ratio)
            blocks = _soundfile_blocks(clip, name, limits, *stretch, length)
            yield NativeAudio(rate, channels, length, blocks)


def _soundfile_blocks(
    clip: soundfile.SoundFile,
    name: str,
    limits: AudioLimits,
    offset_s: float,
    duration_s: float | None,
    length: int | None,
) -> Iterator[np.ndarray]:
    """A stretch of a clip of ``length`` samples, ``None`` where only decoding tells."""
    rate = clip.samplerate
    start = round(offset_s * rate)
    wanted = np.inf if duration_s is None else np.ceil(duration_s * rate)
    if length is not None:
        start = min(start, length)
        wanted = min(length - start, wanted)
        limits.check_duration(wanted / rate, name)
    block_frames = BLOCK_SAMPLES // clip.channels
    decoded = 0
    while decoded < wanted:
        frames = int(min(block_frames, wanted - decoded))
        try:
            if start and not decoded:
                clip.seek(start)
            block = clip.read(frames, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError, ValueError, OSError) as error:
            if length is None and not decoded:
                break  # there is nothing where the stretch begins
            raise undecodable(name) from error
        if not len(block):
            break
        decoded += len(block)
        limits.check_duration(decoded / rate, name)
        yield block
    if length is not None:
        check_whole(name, length / rate, (start + decoded) / rate, (wanted - decoded) / rate)


def _open_soundfile(stream: ClipStream) -> soundfile.SoundFile | None:
    """The clip as libsndfile opens it; ``None`` if it does not.

    It gets no path: of a content that it does not know it would go by the name's suffix.
    """
    try:
        return _SoundFile(stream)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OSError):
        stream.seek(0)
        return None
