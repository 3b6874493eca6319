"""Enrol the development speakers, recognise their other clips, and strangers.

    python benchmarks/recognition.py --data DIR --model_path MODEL

DIR holds lists/dev_<corpus>.txt (lines `path<TAB>label`, paths relative to DIR). Of each speaker
the first clip, or the first three, are enrolled as the speaker library does it (mean of unit
vectors); up to --clips others are held out. Closed set: everybody is enrolled. Open set: half of
the speakers are, drawn ten times; the others are strangers. FAR: strangers taken for somebody. FRR:
clips of enrolled people that are called unknown, and not those where it cannot be told. Wrong:
enrolled people taken for another one. Each
with the threshold of two clips, and with the threshold raised by log(N) / slope for N people, which
is what recognition uses. The second table has thresholds of each corpus's own: calibrated on all
pairs of these clips, so that calibration and use are alike. A calibration that knows how good clips
are has a threshold for each clip, by its quality and that of the enrolled ones; the table gives the
median. Latency is that of
MVectorPredictor.recognition on the clips' files, with a library of everybody, and on some clips its
answers are compared with those of the table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import cpu_name
from numpy.random import Generator, default_rng

from mvector.evaluation import Calibration, calibrate
from mvector.evaluation.quality import pair_quality, side_measures
from mvector.home import HOME
from mvector.recognition.judge import Judge
from mvector.recognition.predictor import MVectorPredictor
from mvector.scoring.strangers import Strangers, evenly_chosen, own_likeness

os.environ[HOME] = os.devnull  # the model as it comes, whatever it is adapted to here

NUM_DRAWS = 10
NUM_TIMED = 40


@dataclass(frozen=True)
class Corpus:
    """Unit embeddings ``(clips, D)`` with speaker, path and measures of each clip."""

    name: str
    paths: list[str]
    speakers: np.ndarray
    units: np.ndarray
    quality: np.ndarray


@dataclass(frozen=True)
class Split:
    """Voiceprints ``(speakers, D)`` in the order of ``speakers``, and the held-out clips.

    ``quality`` ``(speakers, SIDE_MEASURES)`` is that of the enrolled clips: their total speech, and
    the mean of all else.
    """

    speakers: np.ndarray
    voiceprints: np.ndarray
    quality: np.ndarray
    enrolled_clips: list[np.ndarray]
    tests: np.ndarray


def read_corpora(
    data: Path, predictor: MVectorPredictor, most_clips: int, strangers: Strangers
) -> list[Corpus]:
    """Embeddings of the first clips of every development speaker."""
    corpora = []
    for file in sorted((data / "lists").glob("dev_*.txt")):
        by_speaker: dict[str, list[str]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            path, label = line.rsplit("\t", 1)
            by_speaker.setdefault(label, []).append(path)
        listed = [(path, who) for who, paths in by_speaker.items() for path in paths[:most_clips]]
        table = predictor.encoder.embed_readable(
            [data / path for path, _ in listed], measured=True, progress=True
        )
        units = table.embeddings / np.linalg.norm(table.embeddings, axis=1, keepdims=True)
        kept = [listed[position] for position in table.good]
        name = file.stem.removeprefix("dev_")
        speakers = np.array([f"{name}/{who}" for _, who in kept])
        assert table.reports is not None
        quality = side_measures(
            [report.quality for report in table.reports], strangers.likeness(units)
        )
        corpora.append(Corpus(name, [path for path, _ in kept], speakers, units, quality))
    return corpora


def joined(corpora: list[Corpus]) -> Corpus:
    """All corpora as one."""
    return Corpus(
        "all together",
        [path for corpus in corpora for path in corpus.paths],
        np.concatenate([corpus.speakers for corpus in corpora]),
        np.concatenate([corpus.units for corpus in corpora]),
        np.concatenate([corpus.quality for corpus in corpora]),
    )


def enrol(corpus: Corpus, num_clips: int, strangers: Strangers) -> Split:
    """The first clips of everybody who has others too; these are the tests, from the fourth on."""
    speakers, voiceprints, quality, enrolled, tests = [], [], [], [], []
    for speaker in np.unique(corpus.speakers):
        clips = np.flatnonzero(corpus.speakers == speaker)
        if len(clips) < 4:  # the same people and tests for one clip and for three
            continue
        mean = corpus.units[clips[:num_clips]].mean(axis=0)
        speakers.append(speaker)
        voiceprints.append(mean / np.linalg.norm(mean))
        measures = corpus.quality[clips[:num_clips]]
        likeness = strangers.likeness(mean[None])[0]
        quality.append([measures[:, 0].sum(), *measures[:, 1:4].mean(axis=0), likeness, np.nan])
        enrolled.append(clips[:num_clips])
        tests.append(clips[3:])
    return Split(
        np.array(speakers),
        np.array(voiceprints),
        np.array(quality),
        enrolled,
        np.concatenate(tests),
    )


def own_calibration(corpus: Corpus) -> Calibration:
    """Of all pairs of the corpus's clips."""
    first, second = np.triu_indices(len(corpus.paths), 1)
    scores = (corpus.units @ corpus.units.T)[first, second]
    return calibrate(
        scores, corpus.speakers[first] == corpus.speakers[second], description="all pairs"
    )


def share(part: np.ndarray) -> str:
    """Percentage of True."""
    return f"{100.0 * part.mean():.2f} %" if len(part) else "–"


def closed_set(corpus: Corpus, split: Split) -> str:
    """Cells: share of held-out clips whose most alike voiceprint is the right one."""
    scores = corpus.units[split.tests] @ split.voiceprints.T
    return share(split.speakers[scores.argmax(axis=1)] == corpus.speakers[split.tests])


def open_set(corpus: Corpus, split: Split, judge: Judge, rng: Generator) -> str:
    """Cells: FAR, FRR and wrong with the plain and with the raised threshold, and the latter."""
    outcomes: dict[bool, list[list[np.ndarray]]] = {False: [[], [], []], True: [[], [], []]}
    limits = np.zeros(1)
    for _ in range(NUM_DRAWS):
        enrolled = rng.permutation(len(split.speakers))[: len(split.speakers) // 2]
        scores = corpus.units[split.tests] @ split.voiceprints[enrolled].T
        best, nearest = scores.max(axis=1), enrolled[scores.argmax(axis=1)]
        found = split.speakers[nearest]
        quality = pair_quality(*sides_of_matches(corpus, split, nearest, enrolled))
        truth = corpus.speakers[split.tests]
        is_enrolled = np.isin(truth, split.speakers[enrolled])
        for raised, (far, frr, wrong) in outcomes.items():
            number = len(enrolled) if raised else 1
            limits, low, _ = map(np.asarray, judge.limits(quality, number))
            accepted = best >= limits
            far.append(accepted[~is_enrolled])
            frr.append((best < np.minimum(low, limits))[is_enrolled])
            wrong.append((accepted & (found != truth))[is_enrolled])
    cells = [share(np.concatenate(part)) for kind in outcomes.values() for part in kind]
    return " | ".join([*cells, f"{np.median(limits):.3f}"])


def sides_of_matches(
    corpus: Corpus, split: Split, nearest: np.ndarray, enrolled: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Measures of the person most alike to each test clip, and of the clip, as a library has them.

    ``nearest`` ``(tests,)`` and ``enrolled`` are positions of people in the split.
    """
    others = np.sort(enrolled)[evenly_chosen(len(enrolled))]
    sides = split.quality[nearest], corpus.quality[split.tests]
    vectors = split.voiceprints[nearest], corpus.units[split.tests]
    for side, embeddings in zip(sides, vectors, strict=True):
        left_out = nearest[:, None] == others
        side[:, -1] = own_likeness(embeddings, split.voiceprints[others], left_out)
    return sides


def timed(data: Path, corpus: Corpus, split: Split, args: argparse.Namespace) -> None:
    """Latency of recognition against a library of everybody, and agreement with the table."""
    with tempfile.TemporaryDirectory() as folder:
        predictor = MVectorPredictor(args.model_path, audio_db_path=folder, use_gpu=False)
        started = time.perf_counter()
        for speaker, clips in zip(split.speakers, split.enrolled_clips, strict=True):
            predictor.register(data / corpus.paths[clips[0]], str(speaker), force=True)
        enrol_s = time.perf_counter() - started
        chosen = split.tests[:: max(1, len(split.tests) // NUM_TIMED)][:NUM_TIMED]
        took, equal = [], 0
        for clip in chosen:
            started = time.perf_counter()
            result = predictor.recognition(data / corpus.paths[clip])
            took.append(1000.0 * (time.perf_counter() - started))
            scores = split.voiceprints @ corpus.units[clip]
            equal += result.candidates[0].name == split.speakers[scores.argmax()]
    print(
        f"\nEnrolled {len(split.speakers)} people in {enrol_s:.1f} s. Recognition, file to answer: "
        f"median {np.median(took):.0f} ms, 95 % within {np.percentile(took, 95):.0f} ms; the most "
        f"alike person is that of the table for {equal} of {len(chosen)} clips."
    )


def main() -> None:
    """Print both tables and the latency."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of corpora and lists")
    parser.add_argument("--model_path", required=True, help="model folder with a calibration")
    parser.add_argument("--clips", type=int, default=8, help="held-out clips of a speaker, at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    predictor = MVectorPredictor(args.model_path, use_gpu=False)
    judge = Judge(predictor.calibration, None, args.model_path)
    strangers = Strangers.of_model(predictor.encoder.info)
    corpora = read_corpora(args.data, predictor, args.clips + 3, strangers)
    print(f"{cpu_name()}, load {os.getloadavg()[0]:.1f}")
    print(f"threshold {predictor.threshold:.4f}: {predictor.threshold_source}\n")
    for own in (False, True):
        print("| corpus | clips enrolled | people | held-out clips | closed set, right ", end="")
        print(
            "| threshold | FAR | FRR | wrong | FAR, raised | FRR, raised | wrong, raised ", end=""
        )
        print("| raised threshold |\n" + "|---" * 13 + "|")
        for corpus in [*corpora, joined(corpora)]:
            used = Judge(own_calibration(corpus), None, "") if own else judge
            for num_clips in (1, 3):
                split = enrol(corpus, num_clips, strangers)
                cells = open_set(corpus, split, used, default_rng(args.seed))
                print(
                    f"| {corpus.name} | {num_clips} | {len(split.speakers)} | {len(split.tests)} | "
                    f"{closed_set(corpus, split)} | {used.threshold:.3f} | {cells} |",
                    flush=True,
                )
        print()
    everybody = joined(corpora)
    timed(args.data, everybody, enrol(everybody, 1, strangers), args)


if __name__ == "__main__":
    main()
