"""What the model in the box is trained and calibrated on: one packed corpus, and trials.

  python benchmarks/default_model_data.py --data DIR [DIR2 ...]
  python train.py --configs configs/default_model.yml

Each folder holds lists/train.txt (lines 'path<TAB>speaker') and lists/metadata.csv (path, corpus,
speaker, gender, session, duration_s), paths being relative to it; the first also noise/train and
rir/train. benchmarks/default_model_more.py writes a second and default_model_common_voice.py a
third one. A speaker of one corpus and name is one person in all folders. With --leave_out CORPUS
... nothing of these corpora is heard, neither in training nor in calibration, so that they can
tell how the model does where it knows nobody.

Single words are joined, a speaker's words of one session to clips of about three seconds, and long
recordings are cut into pieces of that length, so that every second of speech is heard as often as
any other. With --speed_copies, two in five of the training clips are there once more, a tenth
faster or slower, as those of other people. Some speakers are kept for calibration: the model never
hears them in training. They are those of a folder's lists/calibration.txt or, in a folder without
one, one speaker in fifteen of each corpus, and at least four, drawn by a checksum of their names.
Written below --out:

  train/                   packed corpus of the training clips
  domains.txt              'label<TAB>corpus' of each training speaker; a corpus of a few people is
                           put to another of their language, as two teach little of each other
  calibration/*.wav        clips of the other speakers, 48 of each at most
  calibration.trials       pairs of them, each of one corpus, targets of two sessions where the
                           speaker has several: they choose the best epoch
  calibration_lengths.trials  the same pairs, half of the clips cut to 0.8 to 2 s: they choose the
                           thresholds, and how these depend on the length
  noise, rir               links to the recordings that augmentation uses
  data.json                speakers, clips, hours by corpus and the SHA-256 of every list
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import zlib
from collections import Counter, defaultdict
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from default_model_clips import RATE, Clip, copies_at_other_speeds, listed, plan, read, speaker_of

from mvector.audio import write_wav
from mvector.data.pack_writer import PackWriter
from mvector.data.packed import PackedCorpus
from mvector.data.workers import map_in_order
from mvector.files import file_sha256, write_text

SHARE_OF_CALIBRATION, LEAST_OF_CALIBRATION, CLIPS_OF_CALIBRATION = 15, 4, 48
MOST_TARGETS, MOST_NONTARGETS = 1000, 4000  # of a corpus, so that the largest does not decide alone
CUT_S = 0.8, 2.0
LEAST_OF_DOMAIN, JOINED_IF_FEWER = 10, {"aishell": "dspspeech20"}  # both in Mandarin
LISTS = "train.txt", "metadata.csv", "calibration.txt"


def main() -> None:
    """Write the corpus, the trials and what they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", required=True, nargs="+", type=Path, help="folders of the corpora and lists"
    )
    parser.add_argument("--leave_out", default=[], nargs="+", metavar="CORPUS")
    parser.add_argument("--speed_copies", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("dataset/default_model"))
    args = parser.parse_args()
    clips = list(plan(args.data))
    if unknown := set(args.leave_out) - {clip.corpus for clip in clips}:
        raise SystemExit(f"--leave_out {' '.join(sorted(unknown))}: no such corpus in the lists.")
    clips = [clip for clip in clips if clip.corpus not in args.leave_out]
    held_out = set().union(*map(kept_for_calibration, args.data))
    training = [clip for clip in clips if speaker_of(clip) not in held_out]
    if args.speed_copies:
        training += list(copies_at_other_speeds(training))
    calibration = a_few_of_each([clip for clip in clips if speaker_of(clip) in held_out])
    args.out.mkdir(parents=True, exist_ok=True)
    described = {
        "left_out": args.leave_out,
        "speed_copies": args.speed_copies,
        "lists": [
            {
                file.name: file_sha256(file)
                for file in (data / "lists" / name for name in LISTS)
                if file.exists()
            }
            for data in args.data
        ],
        "training": pack(training, args.data, args.out / "train"),
        "calibration": write_trials(calibration, args.data, args.out),
    }
    write_text(args.out / "domains.txt", domains_of(labels_of(training)))
    for kind in ("noise", "rir"):
        link = args.out / kind
        link.unlink(missing_ok=True)
        link.symlink_to((args.data[0] / kind / "train").resolve())
    text = json.dumps(described, indent=1) + "\n"
    write_text(args.out / "data.json", text)
    print(text)


def labels_of(clips: list[Clip]) -> dict[tuple[str, str], int]:
    """The label of each speaker: they are numbered in the order of the lists."""
    return {key: n for n, key in enumerate(dict.fromkeys(map(speaker_of, clips)))}


def domains_of(label_of: dict[tuple[str, str], int]) -> str:
    """Lines 'label<TAB>corpus', a small corpus being a part of the one that it joins."""
    speakers_of = Counter(corpus for corpus, _ in label_of)
    domain_of = {corpus: corpus for corpus in speakers_of} | {
        corpus: other
        for corpus, other in JOINED_IF_FEWER.items()
        if speakers_of[corpus] < LEAST_OF_DOMAIN and other in speakers_of
    }
    return "".join(f"{label}\t{domain_of[corpus]}\n" for (corpus, _), label in label_of.items())


def kept_for_calibration(data: Path) -> set[tuple[str, str]]:
    """The speakers that a folder names, or those of each corpus with the lowest checksums."""
    if (data / "lists/calibration.txt").exists():
        return {(row["corpus"], row["speaker"]) for row in listed(data, "calibration.txt")}
    of_corpus = defaultdict(list)
    for corpus, speaker in {(row["corpus"], row["speaker"]) for row in listed(data, "train.txt")}:
        of_corpus[corpus].append((zlib.crc32(f"{corpus}/{speaker}".encode()), corpus, speaker))
    return {
        key[1:]
        for keys in of_corpus.values()
        for key in sorted(keys)[: max(LEAST_OF_CALIBRATION, len(keys) // SHARE_OF_CALIBRATION)]
    }


def a_few_of_each(clips: list[Clip]) -> list[Clip]:
    """Not more clips of a speaker than are of use, from all of the sessions."""
    of_speaker = defaultdict(list)
    for clip in clips:
        of_speaker[speaker_of(clip)].append(clip)
    return [
        of_one[n * len(of_one) // min(len(of_one), CLIPS_OF_CALIBRATION)]
        for of_one in of_speaker.values()
        for n in range(min(len(of_one), CLIPS_OF_CALIBRATION))
    ]


def pack(clips: list[Clip], folders: list[Path], out: Path) -> dict[str, object]:
    """Write the training corpus."""
    label_of = labels_of(clips)
    job = {"plan_sha256": hashlib.sha256(repr(clips).encode()).hexdigest(), "sample_rate": RATE}
    writer = PackWriter(
        out, kind="audio", dtype=np.dtype("<i2"), row_shape=(), job=job, overwrite=True
    )
    with closing(writer):
        done = writer.progress
        rest = clips[done.num_listed :]
        for clip, samples in zip(
            rest, map_in_order(partial(read, folders=folders), rest, None), strict=True
        ):
            if isinstance(samples, str):
                writer.skip(clip.name, samples)
            else:
                label = label_of[speaker_of(clip)]
                writer.append(samples, clip.name, label, zlib.crc32(samples.data))
            if done.num_listed % 256 == 0:
                writer.commit()
        writer.finish({"sample_rate": RATE, "source": job})
    corpora = np.array([corpus for corpus, _ in label_of])
    packed = PackedCorpus(out)
    corpus_of = corpora[packed.labels]
    return {
        "speakers": len(label_of),
        "clips": done.num_clips,
        "hours": round(done.num_rows / RATE / 3600, 2),
        "bad": done.num_bad,
        "by_corpus": {
            str(corpus): {
                "speakers": int((corpora == corpus).sum()),
                "clips": int((corpus_of == corpus).sum()),
                "hours": round(int(packed.num_samples[corpus_of == corpus].sum()) / RATE / 3600, 2),
            }
            for corpus in np.unique(corpora)
        },
        **job,
    }


def write_trials(clips: list[Clip], folders: list[Path], out: Path) -> dict[str, object]:
    """Write calibration clips, and pairs of them: within a corpus, never of one recording."""
    folder = out / "calibration"
    folder.mkdir(exist_ok=True)
    for clip, samples in zip(
        clips, map_in_order(partial(read, folders=folders), clips, None), strict=True
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
        comparable = [pair for pair in itertools.combinations(of_corpus, 2) if is_comparable(*pair)]
        targets = [pair for pair in comparable if len(set(map(speaker_of, pair))) == 1]
        nontargets = [pair for pair in comparable if len(set(map(speaker_of, pair))) == 2]
        drawn = sorted(rng.permutation(len(nontargets))[:MOST_NONTARGETS])
        pairs += [(1, a, b) for a, b in fair_share(targets, MOST_TARGETS, rng)]
        pairs += [(0, *nontargets[n]) for n in drawn]
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


def fair_share(
    targets: list[tuple[Clip, Clip]], most: int, rng: np.random.Generator
) -> list[tuple[Clip, Clip]]:
    """As many pairs of every speaker, as far as they go: of two sessions, before any of one."""
    across = {a.speaker for a, b in targets if a.session != b.session}
    of_speaker: Counter[str] = Counter()
    ranked = []
    for n in rng.permutation(len(targets)):
        a, b = targets[n]
        if a.session != b.session or a.speaker not in across:
            ranked.append((of_speaker[a.speaker], n))
            of_speaker[a.speaker] += 1
    return [targets[n] for n in sorted(n for _, n in sorted(ranked)[:most])]


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
