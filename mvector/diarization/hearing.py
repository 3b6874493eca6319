"""A recording, heard once: where there is speech, and the voice in each short window of it.

The recording is decoded block by block and each block is done with before the next one is read, so
that memory holds one block and the embeddings: 4 hours are about 20,000 of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import numpy as np

from mvector.audio import AudioSource, audio_windows, header_duration, source_name
from mvector.audio.channels import ChannelChoice
from mvector.audio.level import SILENCE_DB, sound_of
from mvector.audio.silence import is_sound
from mvector.audio.vad import VadMethod, speech_segments
from mvector.diarization.one_voice import in_voice, loud_stretches
from mvector.diarization.overlap import can_hear_overlap, overlaps_in
from mvector.embedding.encoder import SpeakerEncoder
from mvector.progress import progress_bar

_BLOCK_S = 300.0  # decoded at once; speech that crosses a border is one segment all the same
_BATCH_SIZE = 64
# The network of Silero misses speech behind telephones and noise unless it is loud: of simulated
# conversations 13 % at -24 dB, 7 % at -14 and 3 % at -4. On real meetings -4 takes four times as
# much noise for speech.
_LEVEL_DB = -14.0
_OTHER_LEVEL_DB = -4.0  # where one person is heard, and most of what is loud is not found
JOINED_S = 0.02  # stretches of two blocks that are no farther apart are one


@dataclass(frozen=True)
class Heard:
    """What there is to go by.

    Attributes:
        duration_s: of the recording.
        segments: ``(S, 2)`` where there is speech, begin and end in seconds, in order.
        windows: ``(N, 2)`` seconds, each within a segment; those of a segment overlap.
        units: ``(N, embd_dim)`` float32, embeddings of the windows with length 1.
        channels: what is odd about the channels of the recording; ``None`` as a rule.
        level_db: of the loudest 5 minutes, relative to full scale; -inf without sound.
        overlaps: ``(O, 2)`` where several people speak at once, in seconds, in order.
    """

    duration_s: float
    segments: np.ndarray
    windows: np.ndarray
    units: np.ndarray
    channels: ChannelChoice | None = None
    level_db: float = -np.inf
    overlaps: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


def stretch_of(places: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Which stretch the middle of each window lies in, ``(N,)``.

    Args:
        places: ``(S, 2)`` begin and end of each stretch, in order.
        windows: ``(N, 2)`` begin and end of each.
    """
    return np.maximum(np.searchsorted(places[:, 0], windows.mean(axis=1), side="right") - 1, 0)


def best_vad_method() -> VadMethod:
    """``silero`` where its packages are installed, else ``energy``."""
    has_both = find_spec("silero_vad") is not None and find_spec("onnxruntime") is not None
    return "silero" if has_both else "energy"


def hear(
    encoder: SpeakerEncoder,
    source: AudioSource,
    *,
    window_s: float,
    hop_s: float,
    vad_method: VadMethod | None = None,
    one_voice: bool = False,
    not_theirs: np.ndarray | None = None,
    progress: bool = False,
    on_heard: Callable[[float], object] = lambda heard_s: None,
) -> Heard:
    """Find the speech of a recording, and embed windows of it.

    Args:
        encoder: the model.
        source: the recording.
        window_s: duration of a window; the last one of a segment is stretched to its end, and
            shorter segments are windows of their own.
        hop_s: from the start of a window to that of the next.
        vad_method: finds the speech; ``None`` takes :func:`best_vad_method`.
        one_voice: the recording is one person's: what is loud and in their voice is speech, whether
            the network of ``silero`` takes it for speech or not.
        not_theirs: ``(S, 2)`` seconds of what is heard of somebody else, and taken for silence.
        progress: show a bar.
        on_heard: is told how many seconds are heard, after each minute or so; what it raises ends
            the work.

    Raises:
        AudioError: the recording cannot be decoded.
    """
    rate, name = encoder.sample_rate, source_name(source)
    least_s = encoder.model.front_end.min_duration
    method = vad_method or best_vad_method()
    choices: list[ChannelChoice] = []
    blocks = audio_windows(
        source,
        rate,
        window_s=_BLOCK_S,
        channel=encoder.channel,
        mono_as_is=True,
        on_choice=choices.append,
        limits=encoder.listening.limits,
    )
    told_s = header_duration(source, limits=encoder.listening.limits) if progress else None
    total = None if told_s is None else round(told_s)
    segments, windows, units, is_sure, overlaps = [], [], [], [], []
    num_samples, loudest_db = 0, -np.inf

    def told(begin_s: float, block_s: float) -> Callable[[float], object]:
        return lambda share: on_heard(begin_s + share * block_s)

    with progress_bar(total=total, desc="Listening", unit="second", show=progress) as bar:
        for heard in blocks:
            block = _without(heard, rate, num_samples, not_theirs)
            level_db = sound_of(block, rate).level_db
            loudest_db = max(loudest_db, level_db)
            found = speech_in(block, rate, method, level_db)
            loud = found[:0]
            if one_voice and method == "silero":
                found, loud = _speech_of_one(block, rate, found, level_db)
            place = partial(windows_of, len(block), rate, window_s, hop_s, least_s)
            by_network, by_level = place(found), place(loud)
            places = np.concatenate([by_network, by_level])
            begin_s, block_s = num_samples / rate, len(block) / rate
            good, vectors = embed_windows(
                encoder, block, places, f"{name} from {begin_s:.0f} s", told(begin_s, block_s)
            )
            segments.append((found + num_samples) / rate)
            windows.append((places[good] + num_samples) / rate)
            units.append(vectors)
            is_sure.append(good < len(by_network))
            if len(found) and not one_voice and can_hear_overlap():
                overlaps.append((overlaps_in(block, rate) + num_samples) / rate)
            num_samples += len(block)
            on_heard(num_samples / rate)  # blocks without speech too
            bar.update(round(len(block) / rate))
    odd = [choice for choice in choices if choice.caution]
    all_segments = np.concatenate([np.zeros((0, 2)), *segments])
    all_windows = np.concatenate([np.zeros((0, 2)), *windows])
    all_units = np.concatenate([np.zeros((0, encoder.embd_dim), np.float32), *units])
    sure = np.concatenate([np.zeros(0, bool), *is_sure])
    if one_voice:
        kept = in_voice(all_units, sure)
        all_segments = np.concatenate([all_segments, all_windows[kept & ~sure]])
        order = np.argsort(all_windows[kept].mean(axis=1), kind="stable")
        all_windows, all_units = all_windows[kept][order], all_units[kept][order]
    return Heard(
        num_samples / rate,
        _joined(all_segments),
        all_windows,
        all_units,
        odd[0] if odd else None,
        loudest_db,
        np.concatenate([np.zeros((0, 2)), *overlaps]),
    )


def _without(block: np.ndarray, rate: int, first: int, places_s: np.ndarray | None) -> np.ndarray:
    """A block that begins at a sample of a recording, with silence at some places of that."""
    if places_s is None:
        return block
    places = np.clip(np.round(places_s * rate).astype(np.int64) - first, 0, len(block))
    silence = [(start, stop) for start, stop in places.tolist() if start < stop]
    return np.where(is_sound(len(block), silence), block, np.float32(0.0))


def speech_in(
    block: np.ndarray, rate: int, method: VadMethod, level_db: float, wanted_db: float = _LEVEL_DB
) -> np.ndarray:
    """``(S, 2)`` samples of the speech in a block of a level, raised to the one that is wanted."""
    found = speech_segments(raised(block, level_db, wanted_db), rate, method)
    return np.array(found, np.int64).reshape(-1, 2)


def raised(block: np.ndarray, level_db: float, wanted_db: float = _LEVEL_DB) -> np.ndarray:
    """A block of a level as loud as what finds speech likes it; silence as it is."""
    gain_db = max(0.0, wanted_db - level_db)
    is_sound = gain_db < wanted_db - SILENCE_DB
    return block * np.float32(10.0 ** (gain_db / 20.0)) if is_sound else block


def _speech_of_one(
    block: np.ndarray, rate: int, found: np.ndarray, level_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """What the network takes for speech, found ``(F, 2)`` or more; and what else is loud."""
    loud = loud_stretches(block, rate, found)
    if np.diff(loud).sum() <= np.diff(found).sum():
        return found, loud
    louder = speech_in(block, rate, "silero", level_db, _OTHER_LEVEL_DB)
    found = max(found, louder, key=lambda each: np.diff(each).sum())
    return found, loud_stretches(block, rate, found)


def windows_of(
    num_samples: int, rate: int, window_s: float, hop_s: float, least_s: float, segments: np.ndarray
) -> np.ndarray:
    """``(N, 2)`` samples of the windows of segments ``(S, 2)``."""
    size, hop, least = (round(seconds * rate) for seconds in (window_s, hop_s, least_s))
    windows: list[tuple[int, int]] = []
    for start, stop in segments.tolist():
        first = range(start, max(start, stop - size) + 1, hop)
        ends = [begin + size for begin in first]
        ends[-1] = stop
        windows += zip(first, ends, strict=True)
    places = np.array(windows, np.int64).reshape(-1, 2)
    # what is too short for the model is heard with its surroundings
    missing = np.maximum(least - (places[:, 1] - places[:, 0]), 0)
    places[:, 0] = np.maximum(places[:, 0] - (missing + 1) // 2, 0)
    places[:, 1] = np.minimum(np.maximum(places[:, 1], places[:, 0] + least), num_samples)
    places[:, 0] = np.maximum(np.minimum(places[:, 0], places[:, 1] - least), 0)
    return places


def embed_windows(
    encoder: SpeakerEncoder,
    block: np.ndarray,
    places: np.ndarray,
    name: str,
    on_share: Callable[[float], object] = lambda share: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which windows of a block hold a voice, and its directions ``(good, embd_dim)``.

    ``on_share`` is told how much of them is done, from 0 to 1.
    """
    front_end = encoder.model.front_end

    def read(position: int) -> np.ndarray:
        start, stop = places[position]
        return front_end.check_clip(front_end.speech(block[start:stop], name), name)

    good, vectors = [], []
    num_done = 0
    for batch in encoder.embed_stream([name] * len(places), read, batch_size=_BATCH_SIZE):
        good.append(batch.good)
        vectors.append(batch.embeddings)
        num_done += len(batch.good) + len(batch.failures)
        on_share(num_done / len(places))
    if not good:
        return np.zeros(0, np.int64), np.zeros((0, encoder.embd_dim), np.float32)
    order = np.argsort(np.concatenate(good))
    table = np.concatenate(vectors)[order]
    return np.concatenate(good)[order], table / np.linalg.norm(table, axis=1, keepdims=True)


def _joined(segments: np.ndarray) -> np.ndarray:
    """Segments ``(S, 2)`` in order, of which those that touch are one."""
    if not len(segments):
        return segments
    starts, ends = segments[np.argsort(segments[:, 0], kind="stable")].T
    ends = np.maximum.accumulate(ends)
    breaks = starts[1:] - ends[:-1] > JOINED_S
    return np.stack([starts[np.r_[True, breaks]], ends[np.r_[breaks, True]]], axis=1)
