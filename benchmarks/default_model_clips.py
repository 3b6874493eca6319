"""The clips of the model in the box: which to make of listed recordings, and their samples.

Short recordings of a speaker and session are joined, long ones cut. What is written with them tells
benchmarks/default_model_data.py.
"""

from __future__ import annotations

import csv
import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr

from mvector.audio import read_audio
from mvector.errors import MVectorError

RATE = 16000
JOINED_S, LONGEST_S = 2.8, 5.6
SPEEDS, SHARE_OF_COPIES = (0.9, 1.1), 0.42


@dataclass(frozen=True)
class Clip:
    """A clip to make: pieces ``(path, offset_s, duration_s)`` that follow one another.

    Played faster or slower, it is another voice.
    """

    name: str
    corpus: str
    speaker: str
    session: str
    pieces: tuple[tuple[str, float, float | None], ...]
    speed: float = 1.0


def speaker_of(clip: Clip) -> tuple[str, str]:
    """Corpus and name of a clip's speaker."""
    return clip.corpus, clip.speaker


def listed(data: Path, name: str) -> list[dict[str, str]]:
    """What is known of the recordings of a list, in its order."""
    with open(data / "lists/metadata.csv", encoding="utf-8", newline="") as stream:
        known = {row["path"]: row for row in csv.DictReader(stream)}
    lines = (data / "lists" / name).read_text(encoding="utf-8").splitlines()
    return [known[line.split("\t")[0]] for line in lines]


def plan(folders: list[Path]) -> Iterator[Clip]:
    """The clips to make of the training lists, in their order."""
    sessions: dict[tuple[str, str, str], list[tuple[str, float]]] = defaultdict(list)
    seen: set[str] = set()
    for row in itertools.chain.from_iterable(listed(data, "train.txt") for data in folders):
        if row["path"] in seen:
            raise SystemExit(f"'{row['path']}' is in two lists, or twice in one.")
        seen.add(row["path"])
        key = (row["corpus"], row["speaker"], row["session"])
        sessions[key].append((row["path"], float(row["duration_s"])))
    for (corpus, speaker, session), recordings in sessions.items():
        for number, pieces in enumerate(pieces_of(recordings)):
            name = f"{corpus}_{speaker}_{session}_{number}".replace("/", "-")
            yield Clip(name, corpus, speaker, session, pieces)


def copies_at_other_speeds(clips: Iterable[Clip]) -> Iterator[Clip]:
    """New voices: some of the clips, faster or slower, as their checksums say."""
    for clip in clips:
        drawn = zlib.crc32(clip.name.encode()) / 2**32
        if drawn < SHARE_OF_COPIES:
            speed = SPEEDS[int(drawn * len(SPEEDS) / SHARE_OF_COPIES)]
            speaker = f"{clip.speaker} at {speed}"
            yield replace(clip, name=f"speed{speed}/{clip.name}", speaker=speaker, speed=speed)


def pieces_of(
    recordings: Iterable[tuple[str, float]],
) -> Iterator[tuple[tuple[str, float, float | None], ...]]:
    """Short recordings joined, long ones cut, to clips of 2.8 to 5.6 seconds where it can be."""
    joined: list[tuple[str, float, float | None]] = []
    joined_s = 0.0
    for path, duration_s in recordings:
        if duration_s >= LONGEST_S:
            count = int(duration_s / JOINED_S)
            length_s = duration_s / count
            for part in range(count):
                yield ((path, part * length_s, length_s),)
            continue
        joined.append((path, 0.0, None))
        joined_s += duration_s
        if joined_s >= JOINED_S:
            yield tuple(joined)
            joined, joined_s = [], 0.0
    if joined:
        yield tuple(joined)


def read(clip: Clip, folders: list[Path]) -> np.ndarray | str:
    """The samples of a clip as int16, or why it cannot be had."""
    try:
        waveform = np.concatenate(
            [
                read_audio(place(path, folders), RATE, offset_s=offset_s, duration_s=duration_s)
                for path, offset_s, duration_s in clip.pieces
            ]
        )
    except MVectorError as error:
        return str(error)
    if clip.speed != 1.0:
        waveform = soxr.resample(waveform, RATE * clip.speed, RATE)
    return np.rint(waveform * 32768).clip(-32768, 32767).astype("<i2")


def place(path: str, folders: list[Path]) -> Path:
    """Where a listed recording lies."""
    return next((data / path for data in folders if (data / path).exists()), folders[0] / path)
