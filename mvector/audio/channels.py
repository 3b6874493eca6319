"""From several channels to the one that is heard: which are mixed, and what is odd about them."""

from __future__ import annotations

import numbers
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np

from mvector.audio.level import SILENCE_DB, Sound, sound_of
from mvector.audio.quality import cut_frames, find_speech, powers_of
from mvector.audio.samples import BLOCK_SAMPLES, check_samples
from mvector.errors import AudioError

#: The number of a channel, from 0; ``mix``, the mean of all; or ``auto``, see
#: :func:`choose_channels`.
Channel: TypeAlias = "int | Literal['mix', 'auto']"

DECIDED_FROM_S = 30.0  # of what is read; auto does not change its mind behind that

_EMPTY_BELOW_DB = 40.0  # the loudest channel
_EMPTY_SHARE = 0.05  # of the speech in the channel that holds most
_CANCELLED_SHARE = 0.5  # of the energy: what is left where channels cancel each other
_SAME_SOUND = 0.5  # correlation, of microphones side by side
_SAME_VOICE = 0.6  # correlation of levels, and twice that of samples
_COMPARED_HZ, _MAX_DELAY_S = 8000, 0.03  # of one voice in two microphones 10 m apart
_LEAST_FRAMES = 10
_MAX_HEAD = 8 * BLOCK_SAMPLES
_NAMED = re.compile(r"(?s)(?P<path>.+)#channel=(?P<channel>\d+|mix|auto)")


@dataclass(frozen=True)
class ChannelOf:
    """A clip of which one channel is heard; for files, ``path.wav#channel=1`` says the same."""

    source: Any  # an AudioSource
    channel: Channel


@dataclass(frozen=True)
class ChannelChoice:
    """Which channels are heard, as their mean, and what there is to mind.

    ``caution``: ``different``, where the two of ``pair`` hold two signals, as of two people; or
    ``empty``, where the second one of ``pair`` holds nothing and the first one is heard.
    """

    heard: tuple[int, ...]
    caution: Literal["different", "empty"] | None = None
    pair: tuple[int, int] = (0, 1)

    def __str__(self) -> str:
        first, second = self.pair
        if self.caution == "different":
            return (
                f"channels {first} and {second} hold different voices: choose one (--channel "
                f"{first} or --channel {second}, for one file alone FILE#channel={first})"
            )
        return f"channel {second} is empty, channel {first} is heard" if self.caution else ""


ChoiceHook: TypeAlias = Callable[[ChannelChoice], None]


def parse_channel(value: object) -> Channel:
    """A channel of its text or number.

    Raises:
        AudioError: it is neither ``auto``, ``mix`` nor a whole number from 0.
    """
    if value == "auto" or value == "mix":
        return value
    if isinstance(value, (numbers.Integral, str)) and not isinstance(value, bool):
        text = str(value)
        if text.isascii() and text.isdigit():
            return int(text)
    raise AudioError(
        f"'{value}' is no channel; use auto, mix, or a number from 0.", code="audio-channel"
    )


def split_channel(source: Any) -> tuple[Any, Channel | None]:
    """A source, and the channel that it names: ``path.wav#channel=1``, unless it is a file's name.

    See :class:`ChannelOf` for sources other than paths.
    """
    if isinstance(source, ChannelOf):
        inner, named = split_channel(source.source)
        return inner, source.channel if named is None else named
    if isinstance(source, (str, os.PathLike)):
        found = _NAMED.fullmatch(os.fspath(source)) if "#channel=" in str(source) else None
        if found is not None and not os.path.exists(source):
            return found["path"], parse_channel(found["channel"])
    return source, None


def with_channel(path: str, channel: Channel | None) -> str:
    """The path of a clip that names a channel, unless it does already, or none is chosen."""
    if channel is None or split_channel(path)[1] is not None:
        return path
    return f"{path}#channel={channel}"


def check_channel(channel: Channel, num_channels: int, name: str) -> None:
    """Raise AudioError for what is no channel, or none of the clip's."""
    if isinstance(parse_channel(channel), int) and int(channel) >= num_channels:
        has = (
            "one channel, 0"
            if num_channels == 1
            else f"{num_channels} channels, 0 to {num_channels - 1}"
        )
        raise AudioError(
            f"{name} has no channel {channel}: it has {has}; choose one of these "
            "(for one file alone: FILE#channel=0).",
            code="audio-channel",
        )


def to_mono(
    blocks: Iterator[np.ndarray],
    sample_rate: int,
    channel: Channel,
    name: str,
    on_choice: ChoiceHook | None = None,
) -> Iterator[np.ndarray]:
    """One channel of blocks ``(samples,)`` or ``(samples, channels)`` of a clip.

    ``auto`` decides from the first 30 s (of very many channels or samples, from 8 million samples)
    and stays with it: the same channels are heard of the whole clip, however it is read.

    Raises:
        AudioError: what is heard is not finite or absurdly large.
    """
    first = next(blocks, None)
    if first is None:
        return
    num_channels = 1 if first.ndim == 1 else first.shape[1]
    blocks = chain([first], blocks)
    heard = tuple(range(num_channels)) if channel in ("mix", "auto") else (int(channel),)
    if channel == "auto" and num_channels > 1:
        most = min(round(DECIDED_FROM_S * sample_rate), _MAX_HEAD // num_channels)
        head: list[np.ndarray] = []
        num_read = 0
        for block in blocks:
            head.append(block)
            num_read += len(block)
            if num_read >= most:
                break
        choice = choose_channels(np.concatenate(head)[:most], sample_rate)
        heard, blocks = choice.heard, chain(head, blocks)
        if on_choice is not None:
            on_choice(choice)
    for block in blocks:
        yield check_samples(_mean_of(block, heard), name)


def _mean_of(samples: np.ndarray, heard: Sequence[int]) -> np.ndarray:
    if samples.ndim == 1:
        return samples
    if len(heard) == 1:
        return samples[:, heard[0]]
    return (samples if len(heard) == samples.shape[1] else samples[:, heard]).mean(axis=1)


def choose_channels(samples: np.ndarray, sample_rate: int) -> ChannelChoice:
    """What ``auto`` hears of float ``(samples, channels)``, channels more than one.

    The mean of all channels, but for those that are empty: digital silence, 40 dB below the loudest
    one, or without a word where another one holds speech. Where more than half of the energy is
    lost in their sum, because they cancel each other, the loudest channel is heard alone. Two
    channels hold different voices if neither their levels nor their samples, at whatever delay, go
    together while anybody speaks.
    """
    everyone = tuple(range(samples.shape[1]))
    if not np.isfinite(samples).all() or _is_one_sound(samples):
        return ChannelChoice(everyone)
    sounds = [sound_of(samples[:, k], sample_rate) for k in everyone]
    levels = np.array([sound.level_db for sound in sounds])
    order = np.argsort(-levels, kind="stable").tolist()
    if levels[order[0]] < SILENCE_DB:
        return ChannelChoice(everyone)
    powers = np.stack([powers_of(cut_frames(sound.placed, sample_rate)) for sound in sounds])
    speaks = np.stack([_speech(row) for row in powers])
    speech = np.count_nonzero(speaks, axis=1)
    is_empty = (levels < levels[order[0]] - _EMPTY_BELOW_DB) | (
        speech < _EMPTY_SHARE * speech.max()
    )
    full = [k for k in order if not is_empty[k]]
    heard = tuple(sorted(full))
    if len(full) > 1:
        placed = np.stack([sounds[k].placed for k in heard])
        parts = np.einsum("ij,ij->", placed, placed, dtype=np.float64)
        total = placed.sum(axis=0)
        if np.einsum("i,i->", total, total, dtype=np.float64) < _CANCELLED_SHARE * parts:
            return ChannelChoice((full[0],))
        pair = sorted(full[:2])
        anyone = speaks[pair].any(axis=0)
        both = sounds[pair[0]], sounds[pair[1]]
        if _alikeness(powers[pair][:, anyone], both, sample_rate) < _SAME_VOICE:
            return ChannelChoice(heard, "different", (pair[0], pair[1]))
    if len(everyone) == 2 and is_empty.any():
        return ChannelChoice(heard, "empty", (full[0], int(np.argmax(is_empty))))
    return ChannelChoice(heard)


def _is_one_sound(samples: np.ndarray) -> bool:
    """Whether two channels are plainly alike, as nearly always: found at little cost."""
    if samples.shape[1] != 2 or len(samples) < 2:
        return False
    steps = np.diff(samples, axis=0)  # an offset is no likeness
    left, right = steps[:, 0], steps[:, 1]
    power = [float(np.einsum("i,i->", side, side, dtype=np.float64)) for side in (left, right)]
    product = float(np.einsum("i,i->", left, right, dtype=np.float64))
    is_near = min(power) > max(power) * 10.0 ** (-_EMPTY_BELOW_DB / 10.0)
    return is_near and product > _SAME_SOUND * (power[0] * power[1]) ** 0.5


def _speech(powers: np.ndarray) -> np.ndarray:
    """Which of a channel's frames are speech; none of those that are digital silence."""
    is_speech = powers > 0.0
    if is_speech.any():
        is_speech[is_speech] = find_speech(powers[is_speech])[1]
    return is_speech


def _alikeness(powers: np.ndarray, pair: tuple[Sound, Sound], sample_rate: int) -> float:
    """How much two channels go together: correlation of their levels and, twice, of their samples.

    ``powers``: ``(2, frames)``, of frames in which somebody speaks. Of one voice in two microphones
    it was above 0.6 in all rooms but the largest; of two voices below, in 98 of 100 pairs of
    sentences and 3 of 4 of single words.
    """
    if powers.shape[1] < _LEAST_FRAMES:
        return np.inf
    floor = powers.max(axis=1, keepdims=True) * 1e-6
    of_levels = np.corrcoef(np.log(np.maximum(powers, floor)))[0, 1]
    step = max(1, sample_rate // _COMPARED_HZ)
    num_samples = len(pair[0].placed) // step * step
    left, right = (s.placed[:num_samples].reshape(-1, step).mean(axis=1) for s in pair)
    size = 1 << (2 * len(left) - 1).bit_length()
    delays = np.fft.irfft(np.fft.rfft(left, size) * np.conj(np.fft.rfft(right, size)), size)
    most = round(_MAX_DELAY_S * sample_rate / step)
    highest = max(np.abs(delays[: most + 1]).max(), np.abs(delays[-most:]).max())
    norm = np.linalg.norm(left.astype(np.float64)) * np.linalg.norm(right.astype(np.float64))
    return float(of_levels + 2.0 * highest / norm)
