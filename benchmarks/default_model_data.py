"""What the model in the box is trained and calibrated on: one packed corpus, and trials.

  python benchmarks/default_model_data.py --data DIR
  python train.py --configs configs/default_model.yml

DIR holds lists/train.txt (lines 'path<TAB>speaker'), lists/metadata.csv (path, corpus, speaker,
gender, session, duration_s), noise/train and rir/train; paths are relative to DIR.

Single words are joined, a speaker's words of one session to clips of about three seconds, and long
recordings are cut into pieces of that length, so that every second of speech is heard as often as
any other. One speaker in fifteen of each corpus, and at
least four, drawn by a checksum of their names, are kept for calibration: the model never hears
them in training. Written below --out:

  train/                   packed corpus of the training clips
  calibration/*.wav        clips of the other speakers
  calibration.trials       pairs of them, each of one corpus: they choose the best epoch
  calibration_lengths.trials  the same pairs, half of the clips cut to 0.8 to 2 s: they choose the
                           thresholds, and how these depend on the length
  noise, rir               links to the recordings that augmentation uses
  data.json                speakers, clips, hours and the SHA-256 of every list
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mvector.audio import read_audio, write_wav
from mvector.data.pack_writer import PackWriter
from mvector.data.workers import map_in_order
from mvector.errors import MVectorError
from mvector.files import file_sha256, write_text

RATE = 16000
JOINED_S, LONGEST_S = 2.8, 5.6
SHARE_OF_CALIBRATION, LEAST_OF_CALIBRATION = 15, 4
MOST_TARGETS, MOST_NONTARGETS = 1000, 4000  # of a corpus, so that the largest does not decide alone
CUT_S = 0.8, 2.0


@dataclass(frozen=True)
class Clip:
    """A clip to make: pieces ``(path, offset_s, duration_s)`` that follow one another."""

    name: str
    corpus: str
    speaker: str
    session: str
    pieces: tuple[tuple[str, float, float | None], ...]


def main() -> None:
    """Write the corpus, the trials and what they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--out", type=Path, default=Path("dataset/default_model"))
    args = parser.parse_args()
    clips = list(plan(args.data))
    held_out = kept_for_calibration(set(map(speaker_of, clips)))
    training = [clip for clip in clips if speaker_of(clip) not in held_out]
    args.out.mkdir(parents=True, exist_ok=True)
    described = {
        "lists": {
            name: file_sha256(args.data / "lists" / name) for name in ("train.txt", "metadata.csv")
        },
        "training": pack(training, args.data, args.out / "train"),
        "calibration": write_trials(
            [clip for clip in clips if speaker_of(clip) in held_out], args.data, args.out
        ),
    }
    for kind in ("noise", "rir"):
        link = args.out / kind
        link.unlink(missing_ok=True)
        link.symlink_to((args.data / kind / "train").resolve())
    text = json.dumps(described, indent=1) + "\n"
    write_text(args.out / "data.json", text)
    print(text)


def speaker_of(clip: Clip) -> tuple[str, str]:
    """Corpus and name of a clip's speaker."""
    return clip.corpus, clip.speaker


def kept_for_calibration(speakers: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The speakers of each corpus whose names have the lowest checksums."""
    of_corpus = defaultdict(list)
    for corpus, speaker in speakers:
        of_corpus[corpus].append((zlib.crc32(f"{corpus}/{speaker}".encode()), corpus, speaker))
    return {
        key[1:]
        for keys in of_corpus.values()
        for key in sorted(keys)[: max(LEAST_OF_CALIBRATION, len(keys) // SHARE_OF_CALIBRATION)]
    }


def plan(data: Path) -> Iterator[Clip]:
    """The clips to make of the training list, in its order."""
    with open(data / "lists/metadata.csv", encoding="utf-8", newline="") as stream:
        known = {row["path"]: row for row in csv.DictReader(stream)}
    sessions: dict[tuple[str, str, str], list[tuple[str, float]]] = defaultdict(list)
    for line in (data / "lists/train.txt").read_text(encoding="utf-8").splitlines():
        path = line.split("\t")[0]
        row = known[path]
        key = (row["corpus"], row["speaker"], row["session"])
        sessions[key].append((path, float(row["duration_s"])))
    for (corpus, speaker, session), recordings in sessions.items():
        for number, pieces in enumerate(pieces_of(recordings)):
            name = f"{corpus}_{speaker}_{session}_{number}".replace("/", "-")
            yield Clip(name, corpus, speaker, session, pieces)


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


def read(clip: Clip, data: Path) -> np.ndarray | str:
    """The samples of a clip as int16, or why it cannot be had."""
    try:
        waveform = np.concatenate(
            [
                read_audio(data / path, RATE, offset_s=offset_s, duration_s=duration_s)
                for path, offset_s, duration_s in clip.pieces
            ]
        )
    except MVectorError as error:
        return str(error)
    return np.rint(waveform * 32768).clip(-32768, 32767).astype("<i2")


def pack(clips: list[Clip], data: Path, out: Path) -> dict[str, object]:
    """Write the training corpus; speakers are numbered in the order of the list."""
    label_of = {key: n for n, key in enumerate(dict.fromkeys(map(speaker_of, clips)))}
    job = {"plan_sha256": hashlib.sha256(repr(clips).encode()).hexdigest(), "sample_rate": RATE}
    writer = PackWriter(
        out, kind="audio", dtype=np.dtype("<i2"), row_shape=(), job=job, overwrite=True
    )
    with closing(writer):
        done = writer.progress
        rest = clips[done.num_listed :]
        for clip, samples in zip(
            rest, map_in_order(partial(read, data=data), rest, None), strict=True
        ):
            if isinstance(samples, str):
                writer.skip(clip.name, samples)
            else:
                label = label_of[speaker_of(clip)]
                writer.append(samples, clip.name, label, zlib.crc32(samples.data))
            if done.num_listed % 256 == 0:
                writer.commit()
        writer.finish({"sample_rate": RATE, "source": job})
    return {
        "speakers": len(label_of),
        "clips": done.num_clips,
        "hours": round(done.num_rows / RATE / 3600, 2),
        "bad": done.num_bad,
        "speakers_by_corpus": count_speakers(clips),
        **job,
    }


def write_trials(clips: list[Clip], data: Path, out: Path) -> dict[str, object]:
    """Write calibration clips, and pairs of them: within a corpus, targets of other recordings."""
    folder = out / "calibration"
    folder.mkdir(exist_ok=True)
    for clip, samples in zip(
        clips, map_in_order(partial(read, data=data), clips, None), strict=True
    ):
        if isinstance(samples, str):
            raise SystemExit(samples)
        waveform = samples.astype(np.float32) / 32768
        write_wav(folder / f"{clip.name}.wav", waveform, RATE)
        write_wav(folder / f"{clip.name}_cut.wav", cut(waveform, clip.name), RATE)
    rng = np.random.default_rng(0)
    pairs: list[tuple[int, Clip, Clip]] = []
    for corpus in sorted({clip.corpus for clip in clips}):
        of_corpus = [clip for clip in clips if clip.corpus == corpus]
        for same, most in ((True, MOST_TARGETS), (False, MOST_NONTARGETS)):
            found = [
                (int(same), a, b)
                for a, b in itertools.combinations(of_corpus, 2)
                if (a.speaker == b.speaker) is same and is_comparable(a, b)
            ]
            chosen = rng.permutation(len(found))[:most]
            pairs += [found[n] for n in sorted(chosen)]
    whole = [f"{same} calibration/{a.name}.wav calibration/{b.name}.wav\n" for same, a, b in pairs]
    write_text(out / "calibration.trials", "".join(whole))
    ends = rng.choice([".wav", "_cut.wav"], size=(len(pairs), 2))
    lengths = [
        f"{same} calibration/{a.name}{first} calibration/{b.name}{second}\n"
        for (same, a, b), (first, second) in zip(pairs, ends, strict=True)
    ]
    write_text(out / "calibration_lengths.trials", "".join(lengths))
    return {
        "speakers": len(set(map(speaker_of, clips))),
        "clips": len(clips),
        "targets": sum(same for same, _, _ in pairs),
        "nontargets": sum(not same for same, _, _ in pairs),
        "speakers_by_corpus": count_speakers(clips),
        "trials_sha256": file_sha256(out / "calibration.trials"),
        "lengths_sha256": file_sha256(out / "calibration_lengths.trials"),
    }


def cut(samples: np.ndarray, name: str) -> np.ndarray:
    """A short stretch of a clip, which depends on its name alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    length = round(rng.uniform(*CUT_S) * RATE)
    start = int(rng.integers(max(1, len(samples) - length)))
    return samples[start : start + length]


def is_comparable(a: Clip, b: Clip) -> bool:
    """Not parts of one recording, whose noise they would share."""
    return not {path for path, _, _ in a.pieces} & {path for path, _, _ in b.pieces}


def count_speakers(clips: list[Clip]) -> dict[str, int]:
    """Speakers of each corpus."""
    speakers = set(map(speaker_of, clips))
    return {
        corpus: sum(of == corpus for of, _ in speakers)
        for corpus in sorted({c for c, _ in speakers})
    }


if __name__ == "__main__":
    main()
