"""What libsndfile does not read and FFmpeg does, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mvector.audio.damage import check_skipped, check_whole, undecodable, warn_of_skipped
from mvector.audio.formats import FFMPEG_FORMATS
from mvector.audio.limits import AudioLimits
from mvector.audio.sources import ClipStream
from mvector.errors import AudioError, MVectorError, import_errors_as

# Decoders that know the pauses in which a telephone sends nothing; FFmpeg's own refuse them.
_PREFERRED = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
# Containers whose header says how long the clip is. Of others FFmpeg tells a guess.
_TELL_DURATION = {"mov", "matroska", "flv", "rm", "tta"}


@dataclass
class MediaClip:
    """A clip that FFmpeg has opened: container and track of PyAV, rate in Hz, channels, name."""

    container: Any
    track: Any
    sample_rate: int
    num_channels: int
    name: str

    @property
    def promised_s(self) -> float:
        """How long the header says that the clip is, in seconds; 0 where it says nothing."""
        with _all_errors_as(undecodable(self.name)):
            return self._promised_s()

    def _promised_s(self) -> float:
        if self.container.format.name.split(",")[0] not in _TELL_DURATION:
            return 0.0
        if self.track.duration:
            return float(self.track.duration * self.track.time_base)
        is_alone = len(self.container.streams) == 1  # and not beside a film that may be longer
        return (self.container.duration or 0) / 1e6 if is_alone else 0.0


@contextmanager
def open_media(stream: ClipStream, name: str) -> Iterator[MediaClip]:
    """Open a clip that libsndfile does not read.

    Raises:
        AudioError: FFmpeg does not read it either, or it has no audio track.
        MissingDependencyError: PyAV is not installed, and the clip is no text.
    """
    _require_av(stream, name)
    import av

    unknown = AudioError(
        f"{name} is not audio that can be decoded: its content is of no known format, or it is "
        "damaged.",
        code="audio-undecodable",
    )
    # For the container alone: given for the tracks too, older PyAV crashes on those found later
    options = {"format_whitelist": ",".join(FFMPEG_FORMATS)}
    with _all_errors_as(unknown):
        container = av.open(stream, container_options=options)
    with container:
        with _all_errors_as(unknown):
            if not container.streams.audio:
                raise AudioError(f"{name} has no audio track.", code="audio-undecodable")
            track = container.streams.audio[0]
            rate, channels = int(track.rate or 0), int(track.channels or 0)
            clip = MediaClip(container, track, rate, channels, name)
        yield clip


def media_blocks(
    clip: MediaClip,
    name: str,
    limits: AudioLimits,
    offset_s: float,
    duration_s: float | None,
    length_ratio: float,
) -> Iterator[np.ndarray]:
    """A stretch of a clip, in blocks; decoded from the beginning, for these formats do not seek to
    the sample. Packets that cannot be decoded are left out, and counted in a warning.

    Args:
        clip: which FFmpeg has opened.
        name: how messages call it.
        limits: bounds on the stretch.
        offset_s, duration_s: the stretch, in seconds.
        length_ratio: how many times as long the header says the clip is, see
            :class:`mvector.audio.headers.DataSize`.

    Raises:
        AudioError: the clip is damaged, cut short, empty or beyond the limits.
    """
    rate = clip.sample_rate
    start = round(offset_s * rate)
    stop = np.inf if duration_s is None else start + int(np.ceil(duration_s * rate))
    position = 0
    decoder = _Decoder(clip, name)
    for samples in decoder.blocks():
        first, last = max(0, start - position), min(len(samples), stop - position)
        position += len(samples)
        if first < last:
            limits.check_duration((position - start) / rate, name)
            yield samples[int(first) : int(last)]
        if position >= stop:
            break
    check_skipped(name, decoder.num_skipped, decoder.num_packets)
    if not position:
        raise AudioError(f"{name} holds no samples.", code="audio-empty")
    if position < stop:
        decoded_s = position / rate
        promised_s = max(clip.promised_s, decoded_s * length_ratio)
        end_s = max(decoded_s, decoder.end_s)
        check_whole(name, promised_s, end_s, min(promised_s, stop / rate) - end_s)
    warn_of_skipped(name, decoder.num_skipped, decoder.num_packets)


class _Decoder:
    """Decodes packet by packet, and counts."""

    def __init__(self, clip: MediaClip, name: str) -> None:
        self._clip, self._name = clip, name
        self.num_packets = self.num_skipped = 0
        self.end_s = 0.0  # of the last packet, by its time stamp

    def blocks(self) -> Iterator[np.ndarray]:
        """Float32 ``(samples, channels)`` of each packet that can be decoded."""
        import av

        with _all_errors_as(undecodable(self._name)):
            converter = av.AudioResampler(format="fltp", rate=self._clip.sample_rate)
            decode = _codec_context(self._clip.track).decode
        packets = self._clip.container.demux(self._clip.track)
        while True:
            with _all_errors_as(undecodable(self._name)):
                packet = next(packets, None)
            if packet is None:
                return
            self.num_packets += bool(packet.size)
            try:
                blocks = [
                    converted.to_ndarray().T
                    for frame in decode(packet)
                    for converted in converter.resample(frame)
                ]
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self.end_s = max(self.end_s, float(end))
            except Exception:  # of whatever kind: PyAV has many, from FFmpegError to AttributeError
                self.num_skipped += bool(packet.size)
                continue
            yield from blocks


def _codec_context(track: Any) -> Any:
    import av

    name = _PREFERRED.get(track.codec_context.name)
    if name not in av.codecs_available:
        return track.codec_context
    context = av.CodecContext.create(name, "r")
    context.sample_rate, context.layout = track.rate, track.layout.name
    return context


def _require_av(stream: ClipStream, name: str) -> None:
    """Say what to install, unless PyAV is there or the content is no media."""
    head = stream.read(256)
    stream.seek(0)
    is_text = head.isascii() and not any(byte < 9 for byte in head)
    kind = "is no audio that libsndfile reads, and reading other formats needs PyAV"
    with import_errors_as(
        f"{name} {kind}: pip install av, or convert the clip to wav, flac or mp3."
    ):
        try:
            import av  # noqa: F401
        except ImportError:
            if not is_text:
                raise
            raise AudioError(
                f"{name} is not audio that can be decoded: it is text.", code="audio-undecodable"
            ) from None


@contextmanager
def _all_errors_as(error: AudioError) -> Iterator[None]:
    """Whatever is raised in the block becomes this error, but for those that have a sentence.

    PyAV raises many classes on damaged files, AttributeError and UnicodeDecodeError among them.
    """
    try:
        yield
    except MVectorError:
        raise
    except Exception as cause:
        raise error from cause
