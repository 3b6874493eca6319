"""Decode any clip into the one form the rest of the package knows.

That form is: float32 in [-1, 1], mono, at the rate asked for, shape ``(samples,)``.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator
from math import inf
from pathlib import Path

import numpy as np
import soundfile
import soxr

from mvector.audio.channels import (
    DECIDED_FROM_S,
    Channel,
    ChannelChoice,
    ChoiceHook,
    check_channel,
    choose_channels,
    split_channel,
    to_mono,
)
from mvector.audio.decoding import AudioInfo, NativeAudio, open_native
from mvector.audio.limits import DEFAULT_LIMITS, AudioLimits
from mvector.audio.samples import check_samples, cut_windows, first_samples
from mvector.audio.sources import AudioSource, source_name
from mvector.errors import AudioError
from mvector.files import write_atomically, write_errors_as

_NOTHING = np.zeros(0, dtype=np.float32)
_HIGHEST_RATE = 1_000_000  # asked for, in Hz


def read_audio(
    source: AudioSource,
    sample_rate: int = 16000,
    *,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    channel: Channel = "auto",
    mono_as_is: bool = False,
    limits: AudioLimits = DEFAULT_LIMITS,
) -> np.ndarray:
    """Decode a clip, or a part of it, to mono float32 at ``sample_rate``.

    Formats: those of libsndfile (wav, flac, ogg with vorbis or opus, mp3, aiff, ...), and where
    PyAV is installed, those of FFmpeg (m4a, aac, mp4, webm, wma, amr, ...); the content decides and
    not the name. Of libsndfile's a partial read seeks, so three seconds of a one-hour file cost
    three seconds of decoding; FFmpeg's are decoded from the beginning.

    Args:
        source: path, encoded bytes (also as bytearray or memoryview), binary file object, or
            samples: ``(samples, rate)``, ``(rate, samples)`` as SciPy and Gradio have it, or an
            array or tensor alone, which then has the rate ``sample_rate``. Samples have the shape
            ``(n,)``, ``(n, channels)`` or ``(channels, n)``: an axis of more than 32 beside one of
            up to 32 is time, and of two alike the first is that of arrays, the second that of
            tensors. Integers are scaled to [-1, 1].
        sample_rate: rate of the result in Hz; soxr resamples.
        offset_s: where to start, in seconds.
        duration_s: how much to read at most, in seconds; ``None`` reads to the end.
        channel: which channel is heard, by its number from 0; ``mix``, the mean of all; or
            ``auto``: the mean, without channels that are empty, and the loudest one alone where
            they cancel each other. It decides from the first 30 s of what is read. A source may
            name its own: ``path.wav#channel=1`` (unless there is a file of that name), or
            :class:`mvector.audio.ChannelOf`.
        mono_as_is: hear a clip of one channel whatever ``channel`` is.
        limits: bounds on the clip, checked before anything is allocated.

    Returns:
        float32 array of shape ``(samples,)``.

    Raises:
        AudioError: the clip is missing, empty, not audio, damaged, cut short by more than half a
            second, beyond the limits or not finite, or does not have the channel.
        MissingDependencyError: the format needs PyAV, which is not installed.
    """
    name = source_name(source)
    _check_stretch(name, sample_rate, offset_s, duration_s)
    source, channel, mono_as_is = _named_channel(source, channel, mono_as_is)
    with open_native(source, sample_rate, limits, offset_s, duration_s) as clip:
        mono = _heard(clip, channel, name, mono_as_is)
        blocks = list(_resampled(mono, clip.sample_rate, sample_rate))
        is_resampled = clip.sample_rate != sample_rate
    samples = blocks[0] if len(blocks) == 1 else np.concatenate([_NOTHING, *blocks])
    if is_resampled and duration_s is not None:
        samples = samples[: round(duration_s * sample_rate)]
    if not samples.size:
        raise AudioError(
            f"{name} ends before {offset_s:g} s." if offset_s else f"{name} holds no samples.",
            code="audio-empty",
        )
    return np.ascontiguousarray(samples, dtype=np.float32)


def audio_windows(
    source: AudioSource,
    sample_rate: int = 16000,
    *,
    window_s: float,
    duration_s: float | None = None,
    channel: Channel = "auto",
    mono_as_is: bool = False,
    on_choice: ChoiceHook | None = None,
    limits: AudioLimits = DEFAULT_LIMITS,
) -> Iterator[np.ndarray]:
    """A clip of any length, decoded window by window; memory does not grow with its length.

    Args:
        source, sample_rate, duration_s, channel, mono_as_is, limits: as for :func:`read_audio`.
        window_s: duration of a window in seconds.
        on_choice: is told what ``auto`` found, of a clip with several channels.

    Yields:
        float32 ``(samples,)``, one behind the other without overlap; the last one may be shorter.

    Raises:
        AudioError: as :func:`read_audio`, perhaps after the first windows.
    """
    name = source_name(source)
    source, channel, mono_as_is = _named_channel(source, channel, mono_as_is)
    with open_native(source, sample_rate, limits, 0.0, duration_s) as clip:
        mono = _heard(clip, channel, name, mono_as_is, on_choice)
        blocks = _resampled(mono, clip.sample_rate, sample_rate)
        if duration_s is not None:
            blocks = first_samples(blocks, round(duration_s * sample_rate))
        yield from cut_windows(blocks, round(window_s * sample_rate))


def channel_choices(
    source: AudioSource, *, limits: AudioLimits = DEFAULT_LIMITS
) -> Iterator[ChannelChoice]:
    """What ``auto`` would hear of each 30 s of a clip by themselves; nothing of one channel.

    Stretches without any sound are passed over. Errors as :func:`audio_windows`.
    """
    for block, rate in channel_blocks(source, limits=limits):
        if (np.ptp(block, axis=0) > 0).any():
            yield choose_channels(block, rate)


def channel_blocks(
    source: AudioSource, *, limits: AudioLimits = DEFAULT_LIMITS
) -> Iterator[tuple[np.ndarray, int]]:
    """All channels of a clip, 30 s at a time, ``(samples, channels)``, and their rate.

    Nothing of a clip with one channel. Errors as :func:`audio_windows`.
    """
    name = source_name(source)
    with open_native(source, 16000, limits) as clip:
        if clip.num_channels < 2:
            return
        for block in cut_windows(clip.blocks, round(DECIDED_FROM_S * clip.sample_rate)):
            yield check_samples(block, name), clip.sample_rate


def _check_stretch(name: str, sample_rate: int, offset_s: float, duration_s: float | None) -> None:
    lengths = [offset_s] if duration_s is None else [offset_s, duration_s]
    are_numbers = all(isinstance(length, numbers.Real) for length in lengths)
    if not (are_numbers and 0 <= offset_s < inf and (duration_s is None or 0 < duration_s < inf)):
        raise AudioError(
            f"Cannot read {duration_s!r} s from {offset_s!r} s of {name}: the offset must be a "
            "number from 0 up, and the duration None or a number above 0."
        )
    if not (isinstance(sample_rate, numbers.Integral) and 0 < sample_rate <= _HIGHEST_RATE):
        raise AudioError(
            f"Cannot read {name} at the rate {sample_rate!r}: give whole hertz, such as 16000."
        )


def _named_channel(
    source: AudioSource, channel: Channel, mono_as_is: bool
) -> tuple[AudioSource, Channel, bool]:
    """A source without the channel that it names, which takes the place of the one given."""
    source, named = split_channel(source)
    return (source, channel, mono_as_is) if named is None else (source, named, False)


def _heard(
    clip: NativeAudio,
    channel: Channel,
    name: str,
    mono_as_is: bool,
    on_choice: ChoiceHook | None = None,
) -> Iterator[np.ndarray]:
    if mono_as_is and clip.num_channels == 1:
        channel = "mix"
    check_channel(channel, clip.num_channels, name)
    return to_mono(clip.blocks, clip.sample_rate, channel, name, on_choice)


def _resampled(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks at another rate, as if resampled in one piece."""
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(_NOTHING, last=True)


def audio_info(source: AudioSource, *, limits: AudioLimits = DEFAULT_LIMITS) -> AudioInfo:
    """Duration, rate and channels, from the header where it has them.

    ``num_channels`` is that of the file, also where the source names a channel.

    Raises:
        AudioError: the clip is missing, empty, not audio, of a rate or number of channels beyond
            the limits, or without the channel that the source names.
        MissingDependencyError: the format needs PyAV, which is not installed.
    """
    name = source_name(source)
    source, channel, _ = _named_channel(source, "auto", False)
    with open_native(source, 16000, limits) as clip:
        check_channel(channel, clip.num_channels, name)
        num_samples = clip.num_samples
        if num_samples is None:
            num_samples = sum(len(block) for block in clip.blocks)
        return AudioInfo(num_samples / clip.sample_rate, clip.sample_rate, clip.num_channels)


def header_duration(source: AudioSource, *, limits: AudioLimits = DEFAULT_LIMITS) -> float | None:
    """How long the header says that a clip is, in seconds; ``None`` where it says nothing.

    For a progress bar: nothing is decoded, and nobody promises that the header is right.

    Raises:
        AudioError: as :func:`audio_info`.
        MissingDependencyError: the format needs PyAV, which is not installed.
    """
    source, _ = split_channel(source)
    with open_native(source, 16000, limits) as clip:
        return clip.told_s or None


def write_wav(path: str | os.PathLike[str], waveform: np.ndarray, sample_rate: int) -> None:
    """Write mono samples in [-1, 1] as 16-bit wav; the file appears whole or not at all.

    Raises:
        AudioError: the folder cannot be written to.
    """

    def write(file: Path) -> None:
        soundfile.write(file, waveform, sample_rate, format="WAV", subtype="PCM_16")

    with write_errors_as(AudioError, f"'{path}'", also=(soundfile.SoundFileError,)):
        write_atomically(Path(path), write)
