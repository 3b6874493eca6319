"""Calibrate the verdicts of the model in the box, and see whether they hold for other corpora.

  python benchmarks/default_model_calibration.py --model M                 calibrate the folder M
  python benchmarks/default_model_calibration.py --model M --check LIST    see how it does on LIST
  python benchmarks/default_model_calibration.py --model M --left_out      leave each corpus out

Takes what default_model_data.py wrote below --data: people kept out of the training calibrate, and
people of the training are the strangers that come with the model. All clips go through telephone
lines, codecs, noise and rooms (verdict_trials.py); a calibration knows pairs of one channel and of
two. LIST has lines 'path<TAB>corpus<TAB>speaker' of clips that nobody trained or calibrated on.

What is heard is kept below --cache, so that a second command need not hear it again.
"""

from __future__ import annotations

import argparse
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from common import print_machine
from verdict_trials import AS_IT_IS, ChannelPairs, Clip, HeardClips, draw_pairs, hear

from mvector.data.packed import PackedCorpus
from mvector.embedding.listening import Listening
from mvector.evaluation import Calibration
from mvector.evaluation.calibration_fit import calibrate, with_limits
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.llr_quality import cllr, min_cllr
from mvector.evaluation.metrics import error_rates
from mvector.evaluation.operating_points import PURPOSES
from mvector.evaluation.quality import SIDE_MEASURES, pair_quality
from mvector.models.description import read_model_info, update_model_folder
from mvector.recognition.judge import Judge
from mvector.recognition.verdict_rates import count_verdicts
from mvector.scoring.cohort import Cohort
from mvector.scoring.strangers import likeness, save_cohort

ALL_CHANNELS = (
    AS_IT_IS,
    "telephone line",
    "8 kHz",
    "11 kHz",
    "low-pass 5.5 kHz",
    "mp3 24 kbit/s",
    "Opus 8 kbit/s",
    "GSM",
    "noise, 10 dB",
    "noise, 15 dB, on a telephone line",
    "room",
    "first 2 s",
)
COHORT_CHANNELS = (AS_IT_IS, "telephone line", "mp3 24 kbit/s", "noise, 10 dB")
MOST_STRANGERS, CLIPS_OF_SPEAKER, CLIPS_OF_CORPUS = 150, 12, 160  # strangers of a corpus
MOST_REFUSED = 0.1  # of the own voices of a corpus
TARGETS, NONTARGETS = 150, 300  # of a corpus, of each kind of channels


def main() -> None:
    """Calibrate, or check."""
    parser = parser_of(__doc__)
    parser.add_argument("--left_out", action="store_true")
    args = parser.parse_args()
    print_machine()
    if args.left_out or args.check:
        print_verdicts_of_others(hear_checked(args))
    else:
        calibrate_folder(args.model, args.data, args.cache)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options that name a model and clips."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, required=True)
    add("--data", type=Path, default=Path("dataset/default_model"))
    add("--check", type=Path, metavar="LIST")
    add("--cache", type=Path, default=Path("dataset/default_model/heard"))
    return parser


def calibrate_folder(
    model: Path, data: Path, cache: Path = Path("dataset/default_model/heard")
) -> None:
    """Put a calibration and the strangers of a model into its folder.

    Args:
        model: the folder.
        data: what default_model_data.py wrote.
        cache: where what is heard is kept.
    """
    people, strangers = hear_all(model, data, cache)
    write_calibration(model, people, strangers)


def hear_all(model: Path, data: Path, cache: Path) -> tuple[HeardClips, HeardClips]:
    """The people who calibrate, and the strangers."""
    people = calibration_clips(data, read_corpora(data))
    return (
        cached(model, "calibration", people, data, ALL_CHANNELS, cache),
        cached(model, "strangers", stranger_clips(data), data, COHORT_CHANNELS, cache),
    )


# ---- clips ------------------------------------------------------------------------------------


def read_corpora(data: Path) -> dict[int, str]:
    """The corpus of each training label."""
    lines = (data / "domains.txt").read_text(encoding="utf-8").splitlines()
    return {int(label): corpus for label, corpus in (line.split("\t") for line in lines)}


def stranger_clips(data: Path) -> list[Clip]:
    """A clip each of people of the training, as they are, at most so many of a corpus."""
    corpus_of = read_corpora(data)
    listed = PackedCorpus(data / "train").as_clip_list()
    taken: dict[str, set[int]] = defaultdict(set)
    clips = []
    own = [n for n, path in enumerate(listed.paths) if not str(path).startswith("speed")]
    for place in np.random.default_rng(0).permutation(own).tolist():
        label = int(listed.labels[place])
        corpus = corpus_of[label]
        if label not in taken[corpus] and len(taken[corpus]) < MOST_STRANGERS:
            taken[corpus].add(label)
            packed = str(data / "train"), place
            clips.append(Clip(str(listed.paths[place]), corpus, str(label), packed))
    return clips


def calibration_clips(data: Path, corpora: dict[int, str]) -> list[Clip]:
    """Whole clips of the people kept out of the training, at most so many of each and a corpus."""
    names = sorted(set(corpora.values()), key=len, reverse=True)
    by_corpus: dict[str, list[Clip]] = defaultdict(list)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    paths = sorted((data / "calibration").glob("*.wav"))
    for place in np.random.default_rng(0).permutation(len(paths)):
        path = paths[place]
        corpus = next((name for name in names if path.name.startswith(f"{name}_")), None)
        if corpus is None or path.stem.endswith("_cut"):
            continue
        speaker = path.name.removeprefix(f"{corpus}_").split("_")[0]
        if counts[corpus, speaker] < CLIPS_OF_SPEAKER and len(by_corpus[corpus]) < CLIPS_OF_CORPUS:
            counts[corpus, speaker] += 1
            by_corpus[corpus].append(Clip(str(path), corpus, speaker))
    return [clip for clips in by_corpus.values() for clip in clips]


def listed_clips(path: Path) -> list[Clip]:
    """The clips of a list of path, corpus and speaker."""
    lines = path.read_text(encoding="utf-8").splitlines()
    clips = []
    for line in filter(None, lines):
        name, corpus, speaker = line.split("\t")[:3]
        clips.append(Clip(name, corpus, speaker))
    return clips


def cached(
    model: Path,
    name: str,
    clips: Sequence[Clip],
    data: Path,
    channels: Sequence[str],
    cache: Path,
) -> HeardClips:
    """What :func:`hear` gives, kept for the next command by the model's fingerprint."""
    file = cache / f"{name}_{read_model_info(model).fingerprint}.pickle"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(hear(model, clips, data, channels)))
    heard = pickle.loads(file.read_bytes())
    assert isinstance(heard, HeardClips)
    return heard


# ---- trials -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgedPairs:
    """Scores and measures of pairs, ``(pairs,)`` and ``(pairs, TRIAL_MEASURES)``."""

    corpus: str
    channels: tuple[str, str]
    scores: np.ndarray
    labels: np.ndarray
    measures: np.ndarray
    least_speech_s: np.ndarray


def judged_pairs(heard: HeardClips, cohort: Cohort, corpus: str) -> Iterator[JudgedPairs]:
    """The pairs of a corpus, with all that is known of them."""
    flat = heard.embeddings.reshape(-1, heard.embeddings.shape[-1])
    own = heard.of_corpus(corpus)
    like = np.full(heard.embeddings.shape[:2], np.nan)
    rows = np.arange(len(flat)).reshape(like.shape)[own]
    like[own] = likeness(flat[rows.ravel()], cohort).reshape(rows.shape)
    for pairs in draw_pairs(heard, corpus, num_targets=TARGETS, num_nontargets=NONTARGETS):
        yield _judged(heard, like, corpus, pairs)


def _judged(heard: HeardClips, like: np.ndarray, corpus: str, pairs: ChannelPairs) -> JudgedPairs:
    one, other = pairs.channels
    sides = []
    embeddings = heard.embeddings[pairs.first, one], heard.embeddings[pairs.second, other]
    strangers = heard.embeddings[pairs.strangers, one]
    for clips, channel, vectors in zip(
        (pairs.first, pairs.second), pairs.channels, embeddings, strict=True
    ):
        measures = heard.measures[clips, channel].copy()
        measures[:, SIDE_MEASURES.index("likeness")] = like[clips, channel]
        cosines = np.einsum("nd,nkd->nk", vectors, strangers, dtype=np.float64)
        # without the most alike one, as mvector.scoring.strangers.own_likeness of so few
        mean = np.sort(cosines, axis=1)[:, :-1].mean(axis=1)
        measures[:, SIDE_MEASURES.index("own_likeness")] = mean
        sides.append(measures)
    return JudgedPairs(
        corpus,
        (heard.channels[one], heard.channels[other]),
        np.einsum("nd,nd->n", *embeddings, dtype=np.float64),
        pairs.labels,
        pair_quality(*sides),
        np.minimum(sides[0][:, 0], sides[1][:, 0]),
    )


def cohort_without(strangers: HeardClips, corpus: str | None) -> Cohort:
    """The strangers of all corpora but one."""
    others = [place for place, clip in enumerate(strangers.clips) if clip.corpus != corpus]
    vectors = strangers.embeddings[others]
    return Cohort.from_embeddings(vectors.reshape(-1, vectors.shape[-1]))


def fit(pairs: Sequence[JudgedPairs], description: str, num_speakers: int) -> Calibration:
    """A calibration by pairs of all kinds, its rates of strangers accepted held on each corpus."""
    scores, labels, measures = joined(pairs)
    calibration = calibrate(
        scores, labels, description=description, quality=measures, num_speakers=num_speakers
    )
    every = [joined([each for each in pairs if each.corpus == name]) for name in names_of(pairs)]
    ratios = [strictest(ratio, every) for ratio in calibration.ratios]
    return replace(calibration, ratios=tuple(as_strict(ratio, ratios) for ratio in ratios))


def as_strict(ratio: LikelihoodRatio, others: Sequence[LikelihoodRatio]) -> LikelihoodRatio:
    """The ratio, asking of each purpose no less than any other: all are on one scale.

    One that knows more could ask for less of the corpora that calibrate, and lets more strangers of
    other corpora in.
    """
    asked = dict(ratio.thresholds)
    for purpose in PURPOSES.keys() & asked.keys() - {"eer"}:
        asked[purpose] = max(dict(other.thresholds).get(purpose, -np.inf) for other in others)
    return replace(ratio, thresholds=asked)


def names_of(pairs: Sequence[JudgedPairs]) -> list[str]:
    """Their corpora."""
    return sorted({each.corpus for each in pairs})


def joined(pairs: Sequence[JudgedPairs]) -> list[np.ndarray]:
    """Scores, labels and measures of all."""
    return [
        np.concatenate([getattr(each, name) for each in pairs])
        for name in ("scores", "labels", "measures")
    ]


def strictest(ratio: LikelihoodRatio, corpora: Sequence[list[np.ndarray]]) -> LikelihoodRatio:
    """The ratio, asking of each purpose what the most demanding corpus does.

    A new corpus is unlike those of the calibration as these are unlike each other: a rate that
    holds on their whole is passed on many of them. Nor are more than so many of any corpus's own
    voices taken for different people.
    """
    asked, different = dict(ratio.thresholds), ratio.different
    assert different is not None
    for scores, labels, measures in corpora:
        own = with_limits(ratio, scores, labels, measures).thresholds
        for purpose in PURPOSES.keys() & own.keys() - {"eer"}:
            asked[purpose] = max(asked.get(purpose, own[purpose]), own[purpose])
        curve = error_rates(ratio.slope * scores + ratio.offset(measures), labels)
        different = min(different, curve.at_fnr(MOST_REFUSED).threshold)
    return replace(ratio, thresholds=asked, different=different)


def corpora_of(heard: HeardClips) -> list[str]:
    """Corpora of which somebody has two clips to compare."""
    counts = Counter((clip.corpus, clip.speaker) for clip in heard.clips)
    return sorted({corpus for (corpus, _), count in counts.items() if count > 1})


def write_calibration(model: Path, people: HeardClips, strangers: HeardClips) -> None:
    """Fit by all corpora; into the model folder with calibration and strangers."""
    info = read_model_info(model)
    cohort = cohort_without(strangers, None)
    pairs = [each for name in corpora_of(people) for each in judged_pairs(people, cohort, name)]
    num_speakers = len({(clip.corpus, clip.speaker) for clip in people.clips})
    description = (
        f"pairs of {num_speakers} speakers kept out of the training, through telephones, codecs, "
        "noise and rooms (docs/model_card.md)"
    )
    calibration = fit(pairs, description, num_speakers)
    save_cohort(model, cohort.vectors, info.fingerprint)
    update_model_folder(
        model,
        calibration=calibration.to_dict(),
        listening=Listening.from_dict(info.listening).to_dict(),
        metrics={},
    )
    for ratio in calibration.ratios:
        print(f"{len(ratio.measures)} measures, {dict(ratio.thresholds)}, {ratio.different:.2f}")


# ---- do the verdicts hold? ----------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """Clips to judge, the people who calibrate, and the strangers."""

    clips: HeardClips
    people: HeardClips
    strangers: HeardClips

    def by_others(self) -> Iterator[tuple[str, Calibration, Cohort]]:
        """Each corpus to judge, with a calibration and the strangers of all others."""
        for corpus in corpora_of(self.clips):
            cohort = cohort_without(self.strangers, corpus)
            others = [name for name in corpora_of(self.people) if name != corpus]
            pairs = [each for name in others for each in judged_pairs(self.people, cohort, name)]
            yield corpus, fit(pairs, "all other corpora", num_speakers=100), cohort


def hear_checked(args: argparse.Namespace) -> Checked:
    """What the options of :func:`parser_of` name; without a list, the people check themselves."""
    people, strangers = hear_all(args.model, args.data, args.cache)
    checked = people
    if args.check is not None:
        clips = listed_clips(args.check)
        checked = cached(args.model, args.check.stem, clips, args.data, ALL_CHANNELS, args.cache)
    return Checked(checked, people, strangers)


def print_verdicts_of_others(checked: Checked) -> None:
    """Each corpus judged by a calibration of all others, and beside strangers of the others."""
    print_header()
    for corpus, calibration, cohort in checked.by_others():
        print_verdicts(corpus, calibration, list(judged_pairs(checked.clips, cohort, corpus)))


def print_header() -> None:
    """Of the table of verdicts."""
    columns = (
        "corpus | strangers at hand | EER | EER of the ratio | strangers accepted | worst "
        "channel | own voice refused | cannot tell: own, stranger | Cllr / min"
    )
    print(f"\n| {columns} |\n|{'---|' * 9}")


def print_verdicts(corpus: str, calibration: Calibration, pairs: Sequence[JudgedPairs]) -> None:
    """Rows of the table: without and with the user's own strangers."""
    own = [name in ("own_likeness",) for name in SIDE_MEASURES]
    columns = np.repeat(own, 2)
    for has_own in (False, True):
        known = [
            each if has_own else replace(each, measures=np.where(columns, np.nan, each.measures))
            for each in pairs
        ]
        print(f"| {corpus} | {'own' if has_own else 'of the model'} | {_row(calibration, known)} |")


def _row(calibration: Calibration, pairs: Sequence[JudgedPairs]) -> str:
    judge = Judge(calibration, None, "")
    scores, labels, measures = joined(pairs)
    counts = np.array(
        [
            count_verdicts(judge, each.scores, each.labels, each.measures, each.least_speech_s)
            for each in pairs
        ]
    )
    accepted = counts[:, 0, 1] / counts[:, 0, 0]
    worst = int(accepted.argmax())
    wrong, untold = np.moveaxis(counts.sum(axis=0) / counts.sum(axis=0)[:, :1], 1, 0)[1:]
    of_ratio = error_rates(calibration.llr(scores, measures), labels)
    return (
        f"{100 * error_rates(scores, labels).eer()[0]:.1f} % | {100 * of_ratio.eer()[0]:.1f} % | "
        f"{100 * wrong[0]:.1f} % | {100 * accepted[worst]:.0f} % "
        f"({' / '.join(pairs[worst].channels)}) | {100 * wrong[1]:.1f} % | "
        f"{100 * untold[1]:.0f} %, {100 * untold[0]:.0f} % | "
        f"{cllr(of_ratio):.2f} / {min_cllr(of_ratio):.2f}"
    )


if __name__ == "__main__":
    main()
