"""More speech for the model in the box, sentences and sessions, from four public repositories.

  python benchmarks/default_model_more.py --speechocean762 DIR --test_clean DIR --parser DIR \
    --aishell DIR --out DIR

Each folder is a clone, at the commit named, with the audio in it:

  --speechocean762  github.com/jimbozhang/speechocean762, 613968e: 250 speakers of Mandarin, half of
                    them children, who read English to phones and laptops; free for commercial and
                    non-commercial use
  --test_clean      github.com/hooria-malik/speech-preprocessing-librispeech, 641b550: LibriSpeech
                    test-clean, 40 readers in 1 to 4 chapters each; CC BY 4.0
  --parser          github.com/Jenny-Smolensky/LibriSpeechFilesParser, ffd9105: four readers of
                    LibriSpeech in two chapters each; CC BY 4.0
  --aishell         github.com/QianZ423/kaldi-asr-aishell-sample, 4e69bf1: two speakers of Mandarin,
                    of AISHELL-1; Apache-2.0

Written below --out, as default_model_data.py and eval.py read it:

  librispeech, speechocean762, aishell
                    CORPUS/SPEAKER/SESSION_NUMBER.flac, 16 kHz mono; a chapter is a session
  lists/metadata.csv
                    path, corpus, speaker, gender, session, duration_s and, where known, age and
                    age_group: child (under 16) or adult
  lists/train.txt   'path<TAB>label' of all speakers but those of the development list
  lists/calibration.txt
                    the part of train.txt that is for calibration and not for training: ten readers
                    of test-clean with several chapters, twelve speakers of speechocean762
  lists/dev_speechocean762.txt, .trials
                    50 other speakers, 25 of them children; non-targets are of the same gender, and
                    of the same age group

Who is kept for what is drawn by checksums of names, so that it is the same everywhere.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from mvector.audio import read_audio
from mvector.data.workers import map_in_order
from mvector.errors import MVectorError
from mvector.files import write_text

RATE = 16000
LEAST_AGE_OF_ADULTS = 16
# Speakers of each group (age group, gender).
DEVELOPMENT = {("child", "F"): 13, ("child", "M"): 12, ("adult", "F"): 12, ("adult", "M"): 13}
CALIBRATION = 3
READERS_FOR_CALIBRATION = 10
TARGETS_OF_SPEAKER, NONTARGETS_OF_GROUP = 40, 750


@dataclass(frozen=True)
class Recording:
    """One recording of a clone, and what is known of it."""

    source: Path
    path: str  # below --out
    corpus: str
    speaker: str
    gender: str
    session: str
    age: str = ""


def main() -> None:
    """Convert the recordings and write the lists."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("speechocean762", "test_clean", "parser", "aishell", "out"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    args = parser.parse_args()
    readers = read_readers(args.test_clean)
    ocean = list(speechocean762(args.speechocean762))
    test_clean = list(librispeech(args.test_clean, readers))
    recordings = [
        *ocean,
        *test_clean,
        *librispeech(args.parser, readers),
        *aishell(args.aishell),
    ]
    duration_of = convert(recordings, args.out)
    recordings = [recording for recording in recordings if recording.path in duration_of]
    development, calibration = share_out(ocean)
    calibration |= several_chapters(test_clean)
    lists = args.out / "lists"
    lists.mkdir(exist_ok=True)
    write_text(lists / "metadata.csv", metadata(recordings, duration_of))
    training = [one for one in recordings if speaker_of(one) not in development]
    kept = [one for one in training if speaker_of(one) in calibration]
    heldout = [one for one in recordings if speaker_of(one) in development]
    write_text(lists / "train.txt", labelled(training))
    write_text(lists / "calibration.txt", labelled(kept))
    write_text(lists / "dev_speechocean762.txt", labelled(heldout))
    write_text(lists / "dev_speechocean762.trials", trials(heldout))
    for name, part in (("train", training), ("calibration", kept), ("development", heldout)):
        print(f"{name}: {summary(part, duration_of)}")


def speaker_of(recording: Recording) -> tuple[str, str]:
    """Corpus and name of a recording's speaker."""
    return recording.corpus, recording.speaker


def found(folder: Path, pattern: str) -> list[Path]:
    """The files of a clone."""
    files = sorted(folder.rglob(pattern))
    if not files:
        raise SystemExit(f"'{folder}' holds no {pattern}: is it the clone named in --help?")
    return files


def speechocean762(clone: Path) -> Iterator[Recording]:
    """Phrases read in English, each speaker in one session; also those in no list of the clone."""
    known = {
        name: dict(
            line.split()
            for part in ("train", "test")
            for line in (clone / part / name).read_text(encoding="utf-8").splitlines()
        )
        for name in ("spk2gender", "spk2age")
    }
    counts: dict[str, int] = defaultdict(int)
    for source in found(clone / "WAVE", "*.WAV"):
        speaker = source.parent.name.removeprefix("SPEAKER")
        path = f"speechocean762/{speaker}/s0_{counts[speaker]:04d}.flac"
        counts[speaker] += 1
        gender, age = known["spk2gender"][speaker].upper(), known["spk2age"][speaker]
        yield Recording(source, path, "speechocean762", speaker, gender, "s0", age)


def read_readers(clone: Path) -> dict[str, str]:
    """Gender of every reader of LibriSpeech."""
    rows = [
        [field.strip() for field in line.split("|")]
        for line in found(clone, "SPEAKERS.TXT")[0].read_text(encoding="utf-8").splitlines()
        if not line.startswith(";")
    ]
    return {reader: gender for reader, gender, *_ in rows}


def librispeech(clone: Path, gender_of: dict[str, str]) -> Iterator[Recording]:
    """Files READER-CHAPTER-NUMBER.flac, each once: phonemes cut out of them are left alone."""
    for source in found(clone, "[0-9]*-[0-9]*-[0-9][0-9][0-9][0-9].flac"):
        reader, chapter, number = source.stem.split("-")
        if source.parts[-3:-1] != (reader, chapter):
            continue
        path = f"librispeech/{reader}/{chapter}_{number}.flac"
        yield Recording(source, path, "librispeech", reader, gender_of[reader], chapter)


def aishell(clone: Path) -> Iterator[Recording]:
    """Files BAC009S<speaker>W<number>.wav, each speaker in one session."""
    for source in found(clone / "AISHELL_Sample_data", "BAC009S*W*.wav"):
        speaker, number = source.stem.removeprefix("BAC009").split("W")
        yield Recording(source, f"aishell/{speaker}/s0_{number}.flac", "aishell", speaker, "", "s0")


def convert(recordings: list[Recording], out: Path) -> dict[str, float]:
    """Write each as FLAC; the durations of those that could be read, by path."""
    for folder in {out / recording.path for recording in recordings}:
        folder.parent.mkdir(parents=True, exist_ok=True)
    jobs = [(recording.source, out / recording.path) for recording in recordings]
    duration_of = {}
    for recording, done in zip(
        recordings, map_in_order(convert_one, jobs, None, num_items=len(jobs)), strict=True
    ):
        if isinstance(done, str):
            print(f"left out: {done}")
        else:
            duration_of[recording.path] = done
    return duration_of


def convert_one(job: tuple[Path, Path]) -> float | str:
    """Seconds of a recording that was converted, or why it was not."""
    source, target = job
    try:
        waveform = read_audio(source, RATE)
    except MVectorError as error:
        return str(error)
    samples = np.rint(waveform * 32768).clip(-32768, 32767).astype(np.int16)
    soundfile.write(target, samples, RATE, format="FLAC", subtype="PCM_16")
    return len(samples) / RATE


def by_checksum(speakers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Speakers in an order that means nothing and is always the same."""
    return sorted(set(speakers), key=lambda key: (zlib.crc32("/".join(key).encode()), key))


def age_group(recording: Recording) -> str:
    """Child or adult, or nothing where the age is not known."""
    if not recording.age:
        return ""
    return "adult" if int(recording.age) >= LEAST_AGE_OF_ADULTS else "child"


def group_of(recording: Recording) -> tuple[str, str]:
    """Age group and gender."""
    return age_group(recording), recording.gender


def share_out(ocean: list[Recording]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The speakers of speechocean762 that are for development, and for calibration."""
    development: set[tuple[str, str]] = set()
    calibration: set[tuple[str, str]] = set()
    for group, count in DEVELOPMENT.items():
        speakers = by_checksum(speaker_of(one) for one in ocean if group_of(one) == group)
        development.update(speakers[:count])
        calibration.update(speakers[count : count + CALIBRATION])
    return development, calibration


def several_chapters(test_clean: list[Recording]) -> set[tuple[str, str]]:
    """Readers for calibration, half of them women, each of at least two chapters."""
    sessions = defaultdict(set)
    gender_of = {speaker_of(one): one.gender for one in test_clean}
    for one in test_clean:
        sessions[speaker_of(one)].add(one.session)
    several = by_checksum(speaker for speaker, heard in sessions.items() if len(heard) > 1)
    return {
        speaker
        for gender in ("F", "M")
        for speaker in [one for one in several if gender_of[one] == gender][
            : READERS_FOR_CALIBRATION // 2
        ]
    }


def metadata(recordings: list[Recording], duration_of: dict[str, float]) -> str:
    """The table of all recordings."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    known = ["path", "corpus", "speaker", "gender", "session"]
    table.writerow([*known, "duration_s", "age", "age_group"])
    for one in recordings:
        duration_s = f"{duration_of[one.path]:.3f}"
        row = [getattr(one, column) for column in known]
        table.writerow([*row, duration_s, one.age, age_group(one)])
    return stream.getvalue()


def labelled(recordings: list[Recording]) -> str:
    """Lines 'path<TAB>label'; speakers are numbered in their order."""
    label_of = {key: n for n, key in enumerate(dict.fromkeys(map(speaker_of, recordings)))}
    return "".join(f"{one.path}\t{label_of[speaker_of(one)]}\n" for one in recordings)


def trials(recordings: list[Recording]) -> str:
    """Pairs of development clips, lines 'label path path': as many targets of every speaker."""
    rng = np.random.default_rng(0)
    lines: list[str] = []
    groups = defaultdict(list)
    for one in recordings:
        groups[group_of(one)].append(one)
    for group in groups.values():
        pairs: dict[str, list[str]] = defaultdict(list)
        for a, b in itertools.combinations(group, 2):
            same = a.speaker == b.speaker
            pairs[a.speaker if same else ""].append(f"{int(same)} {a.path} {b.path}\n")
        for speaker, of_speaker in sorted(pairs.items()):
            most = TARGETS_OF_SPEAKER if speaker else NONTARGETS_OF_GROUP
            lines += [of_speaker[n] for n in rng.permutation(len(of_speaker))[:most]]
    return "".join(sorted(lines))


def summary(recordings: list[Recording], duration_of: dict[str, float]) -> str:
    """Speakers, clips and hours of each corpus."""
    parts = []
    for corpus in dict.fromkeys(one.corpus for one in recordings):
        of_corpus = [one for one in recordings if one.corpus == corpus]
        hours = sum(duration_of[one.path] for one in of_corpus) / 3600
        speakers = len(set(map(speaker_of, of_corpus)))
        parts.append(f"{corpus} {speakers} speakers, {len(of_corpus)} clips, {hours:.2f} h")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
