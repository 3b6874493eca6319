"""Clips through the channels that verdicts must hold for, and pairs of them.

Used by default_model_calibration.py. A pair is of one corpus; its two clips have been through the
same channel, or one through none. What is drawn depends on the names of the clips alone.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mvector.audio import read_audio
from mvector.data.augmentation.bands import by_lower_rate, low_pass
from mvector.data.augmentation.codec import telephone_line, through_codec
from mvector.data.augmentation.noise import add_noise
from mvector.data.augmentation.reverb import add_reverb
from mvector.data.packed import PackedCorpus
from mvector.embedding import SpeakerEncoder
from mvector.errors import AudioError
from mvector.evaluation.quality import side_measures

RATE = 16000
AS_IT_IS = "as it is"
NUM_OWN_STRANGERS = 8

Channel = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """A clip to compare: a file, or a place in a packed corpus."""

    name: str
    corpus: str
    speaker: str
    packed: tuple[str, int] | None = None

    def read(self) -> np.ndarray:
        """Its waveform at :data:`RATE`; an ``AudioError`` if it cannot be read."""
        if self.packed is None:
            return read_audio(self.name, RATE)
        folder, place = self.packed
        return PackedCorpus(folder).read(place)


@dataclass(frozen=True)
class HeardClips:
    """Clips that were heard through every channel.

    Attributes:
        clips: N clips.
        channels: C channels.
        embeddings: of unit length, float32 ``(N, C, D)``.
        measures: float64 ``(N, C, SIDE_MEASURES)``; likeness is not known yet.
    """

    clips: Sequence[Clip]
    channels: Sequence[str]
    embeddings: np.ndarray
    measures: np.ndarray

    def of_corpus(self, corpus: str) -> np.ndarray:
        """Positions of a corpus's clips."""
        return np.flatnonzero([clip.corpus == corpus for clip in self.clips])


def channels(noises: Path, rooms: Path) -> dict[str, Channel]:
    """What is done to clips, by name; ``noises`` and ``rooms`` are folders of recordings."""
    noise = [read_audio(path, RATE) for path in sorted(noises.rglob("*.flac"))]
    room = [read_audio(path, RATE) for path in sorted(rooms.rglob("*.flac"))]

    def noisy(clip: np.ndarray, rng: np.random.Generator, snr_db: float) -> np.ndarray:
        stretch = noise[rng.integers(len(noise))]
        return add_noise(clip, np.resize(np.roll(stretch, rng.integers(RATE)), len(clip)), snr_db)

    return {
        AS_IT_IS: lambda clip, rng: clip,
        "telephone line": lambda clip, rng: telephone_line(clip, RATE),
        "8 kHz": lambda clip, rng: by_lower_rate(clip, RATE, 8000, "HQ"),
        "11 kHz": lambda clip, rng: by_lower_rate(clip, RATE, 11025, "HQ"),
        "low-pass 5.5 kHz": lambda clip, rng: low_pass(clip, RATE, 5500.0),
        "mp3 24 kbit/s": lambda clip, rng: through_codec(clip, RATE, "mp3", 24.0),
        "Opus 8 kbit/s": lambda clip, rng: through_codec(clip, RATE, "opus", 8.0),
        "GSM": lambda clip, rng: through_codec(clip, RATE, "gsm"),
        "noise, 10 dB": lambda clip, rng: noisy(clip, rng, 10.0),
        "noise, 15 dB, on a telephone line": lambda clip, rng: telephone_line(
            noisy(clip, rng, 15.0), RATE
        ),
        "room": lambda clip, rng: add_reverb(clip, room[rng.integers(len(room))], RATE),
        "first 2 s": lambda clip, rng: clip[: 2 * RATE],
    }


def hear(
    model: Path,
    clips: Sequence[Clip],
    recordings: Path,
    names: Sequence[str],
    *,
    processes: int = 2,
) -> HeardClips:
    """Embed and measure clips through channels; those that cannot be heard are left out.

    Args:
        model: model folder.
        clips: which.
        recordings: folder with ``noise`` and ``rir``.
        names: of :func:`channels`.
        processes: that share the work, with a thread each.
    """
    parts = [clips[start : start + 16] for start in range(0, len(clips), 16)]
    with ProcessPoolExecutor(
        processes, initializer=_start, initargs=(model, recordings, tuple(names))
    ) as pool:
        found = [item for part in pool.map(_hear_part, parts) for item in part]
    heard = [clip for clip, _, _ in found]
    embeddings = np.array([each for _, each, _ in found], np.float32)
    return HeardClips(heard, list(names), embeddings, np.array([each for _, _, each in found]))


_WORKER: dict[str, Any] = {}  # of a process: encoder and channels


def _start(model: Path, recordings: Path, names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    _WORKER["encoder"] = SpeakerEncoder.from_folder(model, "cpu")
    every = channels(recordings / "noise", recordings / "rir")
    _WORKER["channels"] = {name: every[name] for name in names}


def _hear_part(clips: Sequence[Clip]) -> list[tuple[Clip, np.ndarray, np.ndarray]]:
    found = []
    for clip in clips:
        try:
            waveform = clip.read()
            heard = [
                _WORKER["encoder"].embed_measured((change(waveform, _generator(clip, name)), RATE))
                for name, change in _WORKER["channels"].items()
            ]
        except AudioError as error:
            print(f"left out: {clip.name}: {error}", flush=True)
            continue
        embeddings = np.array([embedding / np.linalg.norm(embedding) for embedding, _ in heard])
        found.append((clip, embeddings, side_measures([report.quality for _, report in heard])))
    return found


def _generator(clip: Clip, channel: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{Path(clip.name).name} {channel}".encode()))


@dataclass(frozen=True)
class ChannelPairs:
    """Pairs of clips of one corpus through two channels.

    Attributes:
        first, second: positions of the clips, ``(pairs,)``.
        channels: positions of the two channels.
        labels: bool ``(pairs,)``, True for one speaker.
        strangers: positions of clips of other speakers, ``(pairs, NUM_OWN_STRANGERS)``, who are the
            user's own strangers; they have been through the first channel.
    """

    first: np.ndarray
    second: np.ndarray
    channels: tuple[int, int]
    labels: np.ndarray
    strangers: np.ndarray


def draw_pairs(
    heard: HeardClips, corpus: str, *, num_targets: int, num_nontargets: int
) -> list[ChannelPairs]:
    """Pairs of a corpus: for every channel against itself and against none."""
    rng = np.random.default_rng(zlib.crc32(corpus.encode()))
    own = heard.of_corpus(corpus)
    speakers = np.array([heard.clips[place].speaker for place in own])
    by_speaker: dict[str, list[int]] = defaultdict(list)
    for place, speaker in zip(own.tolist(), speakers.tolist(), strict=True):
        by_speaker[speaker].append(place)
    first, second = np.triu_indices(len(own), 1)
    is_target = speakers[first] == speakers[second]
    kinds = [(place, place) for place in range(len(heard.channels))]
    kinds += [(0, place) for place in range(1, len(heard.channels))]
    drawn = []
    for kind in kinds:
        chosen = np.concatenate(
            [
                rng.permutation(np.flatnonzero(is_target == label))[:most]
                for label, most in ((True, num_targets), (False, num_nontargets))
            ]
        )
        strangers = [
            _draw_strangers(by_speaker, {speakers[one], speakers[other]}, rng)
            for one, other in zip(first[chosen], second[chosen], strict=True)
        ]
        drawn.append(
            ChannelPairs(
                own[first[chosen]],
                own[second[chosen]],
                kind,
                is_target[chosen],
                np.array(strangers),
            )
        )
    return drawn


def _draw_strangers(
    by_speaker: Mapping[str, Sequence[int]], besides: set[str], rng: np.random.Generator
) -> np.ndarray:
    names = [name for name in by_speaker if name not in besides]
    chosen = rng.permutation(len(names))[:NUM_OWN_STRANGERS]
    found = [rng.choice(by_speaker[names[place]]) for place in chosen]
    return np.resize(found, NUM_OWN_STRANGERS)
