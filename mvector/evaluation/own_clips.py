"""A user's own clips: a folder for each person, every clip compared with every other."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace

import numpy as np

from mvector.audio import Channel, with_channel
from mvector.audio.clip_report import ENROLMENT_FLOOR, ClipReport
from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.folder import scan_folder
from mvector.data.lists import clips_of_each_speaker
from mvector.embedding.encoder import SpeakerEncoder
from mvector.errors import DataError, EvaluationError, count_of
from mvector.evaluation.bootstrap import Interval, bootstrap_intervals
from mvector.evaluation.quality import clip_measures, pair_quality
from mvector.scoring.cohort import Cohort
from mvector.scoring.cosine import cosine_scores
from mvector.scoring.leaving_out import likeness_to_others
from mvector.scoring.strangers import Strangers, evenly_chosen, own_likeness
from mvector.scoring.trials import PairTrials

logger = logging.getLogger(__name__)

MAX_CLIPS = 4_000  # 8 * 10^6 pairs, with 12 measures each
_NUM_REPLICATES = 300

# No two recordings are as alike as this; the same audio twice is, whatever its format.
_SAME_AUDIO_COSINE = 0.99995


@dataclass(frozen=True, eq=False)
class OwnPairs:
    """Pairs of a user's clips, and what is known of them.

    Attributes:
        folder: that holds the clips.
        names: of the people, P.
        embeddings: float32 ``(N, D)`` of the clips.
        person: ``(N,)``, whose each clip is, from 0.
        measures: ``(N, SIDE_MEASURES)`` of the clips, without likeness to own strangers.
        sides: clips of each pair, twice ``(pairs,)``.
        scores: cosines ``(pairs,)``.
        num_skipped: clips that could not be used.
    """

    folder: str
    names: tuple[str, ...]
    embeddings: np.ndarray
    person: np.ndarray
    measures: np.ndarray
    sides: tuple[np.ndarray, np.ndarray]
    scores: np.ndarray
    num_skipped: int

    @property
    def speakers(self) -> tuple[np.ndarray, np.ndarray]:
        """The person of each side of the pairs, twice ``(pairs,)``."""
        return self.person[self.sides[0]], self.person[self.sides[1]]

    @property
    def labels(self) -> np.ndarray:
        """Bool ``(pairs,)``, True where both clips are of one person."""
        one, other = self.speakers
        return one == other

    @property
    def description(self) -> str:
        """The pairs in words."""
        people = len(np.unique(np.concatenate(self.speakers)))
        return f"{self.folder} ({people} people, {len(self.scores)} trials)"

    @property
    def least_speech_s(self) -> np.ndarray:
        """Seconds of speech of the side that has less, ``(pairs,)``."""
        speech = self.measures[:, 0]
        return np.minimum(speech[self.sides[0]], speech[self.sides[1]])

    def of_people(self, chosen: np.ndarray) -> OwnPairs:
        """The pairs of which both are among the people chosen, bool ``(P,)``."""
        one, other = self.speakers
        kept = chosen[one] & chosen[other]
        sides = self.sides[0][kept], self.sides[1][kept]
        return replace(self, sides=sides, scores=self.scores[kept])

    def voiceprints(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """Mean direction of the clips of each person chosen, bool ``(P,)``: ``(people, D)``."""
        clips = np.ones(len(self.person), bool) if chosen is None else chosen[self.person]
        people = self.person[clips]
        return Cohort.from_embeddings(self.embeddings[clips], speakers=people).vectors

    def quality(self, strangers: Strangers) -> np.ndarray:
        """``(pairs, TRIAL_MEASURES)`` beside the own strangers of a model, if it has any."""
        return self._quality(
            *[strangers.own_likeness(self.embeddings)[side] for side in self.sides]
        )

    def quality_beside(self, people: np.ndarray) -> np.ndarray:
        """The same where others, ``(M, D)``, are the own strangers."""
        likeness = own_likeness(self.embeddings, people[evenly_chosen(len(people))])
        return self._quality(*[likeness[side] for side in self.sides])

    def quality_among(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """The same where the people chosen, bool ``(P,)``, are strangers to each other.

        To the clips of a pair, that is all of them but those two.
        """
        whose = np.arange(len(self.names)) if chosen is None else np.flatnonzero(chosen)
        taken = evenly_chosen(len(whose))
        strangers = self.voiceprints(chosen)[taken]
        likeness = likeness_to_others(self.embeddings, self.person, strangers, whose[taken])
        (one, other), (first, second) = self.sides, self.speakers
        return self._quality(likeness[one, second], likeness[other, first])

    def _quality(self, *likeness: np.ndarray) -> np.ndarray:
        measured = []
        for side, own in zip(self.sides, likeness, strict=True):
            measures = self.measures[side]
            measures[:, -1] = own
            measured.append(measures)
        return pair_quality(*measured)

    def eer_interval(self) -> Interval | None:
        """Where the EER lies for other choices of people, with a confidence of 95 %, if they are
        enough to tell."""
        try:
            return bootstrap_intervals(
                self.scores, self.labels, *self.speakers, num_replicates=_NUM_REPLICATES
            ).eer
        except EvaluationError as error:
            logger.info("No interval: %s", error)
            return None

    def too_alike(self) -> list[tuple[str, str]]:
        """Names of two people who may be one: as alike as the clips of one of them are.

        The mean over the pairs of their clips is no lower than the mean over the own pairs of one
        of both, nor than that of the lowest quarter of all people.
        """
        num_people = len(self.names)
        sums, counts = np.zeros((2, num_people, num_people))
        np.add.at(sums, self.speakers, self.scores)
        np.add.at(counts, self.speakers, 1)
        sums, counts = sums + np.triu(sums.T, 1), counts + np.triu(counts.T, 1)  # either way round
        means = np.divide(sums, counts, where=counts > 0, out=np.full_like(sums, np.nan))
        own = np.diagonal(means)
        if np.isnan(own).all():
            return []
        own = np.where(np.isnan(own), np.nanmedian(own), own)  # of one clip
        least = np.maximum(np.minimum(own[:, None], own), np.quantile(own, 0.25))
        pairs = np.argwhere(np.triu(means >= least, 1)).tolist()
        return [(self.names[one], self.names[other]) for one, other in pairs]


def compare_own_clips(
    encoder: SpeakerEncoder,
    folder: str | os.PathLike[str],
    *,
    max_clips_per_person: int | None = 50,
    channel: Channel | None = None,
    progress: bool = False,
) -> OwnPairs:
    """Compare every clip with every other one.

    Clips that cannot be read, or hold too little speech to be enrolled, are told and left out.

    Args:
        encoder: the model.
        folder: holds ``<person>/**/<clip>``.
        max_clips_per_person: take so many clips of a person, evenly from the sorted ones; ``None``
            takes all.
        channel: which channel is heard of all clips; ``None`` is what the model says.
        progress: show bars.

    Raises:
        DataError: the folder holds no clips of several people, or too many.
        EvaluationError: no two clips are of one person, or of two.
        CheckpointError: the strangers of the model are damaged, or those of another one.
    """
    found = _limit_clips(scan_folder(folder), max_clips_per_person)
    table = encoder.embed_readable(
        [with_channel(clip.path, channel) for clip in found], measured=True, progress=progress
    )
    reports = table.reports or []
    has_speech = np.array([_has_speech(report) for report in reports], dtype=bool)
    clips = [found[position] for position in table.good]
    failures = [reason for _, reason in table.failures]
    failures += [
        f"'{clip.path}' has only {report.speech_s:.1f} s of speech"
        for clip, report in zip(clips, reports, strict=True)
        if not _has_speech(report)
    ]
    for reason in failures[:5]:
        logger.warning("Skipped: %s", reason.rstrip("."))
    clips = [clip for clip, is_kept in zip(clips, has_speech, strict=True) if is_kept]
    embeddings = table.embeddings[has_speech]
    names, person = np.unique([clip.speaker for clip in clips], return_inverse=True)
    first, second = (side.astype(np.int32) for side in np.triu_indices(len(clips), 1))
    paths, labels = tuple(clip.path for clip in clips), person[first] == person[second]
    _check_both_kinds(labels, folder)
    trials = PairTrials(os.fspath(folder), paths, first, second, labels)
    scores = cosine_scores(embeddings, embeddings, trials, progress=progress)
    measures = clip_measures([r for r, kept in zip(reports, has_speech, strict=True) if kept])
    measures[:, -2] = Strangers.of_model(encoder.info).likeness(embeddings)
    is_pair = _is_distinct_audio(scores, trials)
    _check_both_kinds(labels[is_pair], folder)
    return OwnPairs(
        os.fspath(folder),
        tuple(map(str, names)),
        embeddings,
        person,
        measures,
        (first[is_pair], second[is_pair]),
        scores[is_pair],
        len(failures),
    )


def _has_speech(report: ClipReport) -> bool:
    return report.speech_s >= (ENROLMENT_FLOOR.min_speech_s or 0.0)


def _limit_clips(clips: list[Clip], max_per_person: int | None) -> list[Clip]:
    """At most so many clips of each person, evenly from those there are."""
    _, person = np.unique([clip.speaker for clip in clips], return_inverse=True)
    chosen = [
        clips[position] for own in clips_of_each_speaker(person, max_per_person) for position in own
    ]
    if len(chosen) < len(clips):
        logger.info(
            "%d of %d clips are compared, at most %d of a person.",
            len(chosen),
            len(clips),
            max_per_person,
        )
    if len(chosen) > MAX_CLIPS:
        raise DataError(
            f"{len(chosen)} clips make too many pairs; lower --max_clips_per_person until at most "
            f"{MAX_CLIPS} clips are left, or make a list of trials for eval.py."
        )
    return chosen


def _is_distinct_audio(scores: np.ndarray, trials: PairTrials) -> np.ndarray:
    """Whether the clips of each pair differ; a copy is no comparison."""
    differs = scores < _SAME_AUDIO_COSINE
    copies = np.flatnonzero(~differs)
    if len(copies):
        pair = copies[0]
        logger.warning(
            "Left out: %s of clips with the same audio, such as '%s' and '%s'%s.",
            count_of(len(copies), "pair"),
            trials.paths[trials.enroll_index[pair]],
            trials.paths[trials.test_index[pair]],
            "" if trials.labels[copies].all() else "; some lie in folders of different people",
        )
    return differs


def _check_both_kinds(labels: np.ndarray, folder: str | os.PathLike[str]) -> None:
    if len(labels) == 0 or labels.all():
        raise EvaluationError(
            f"'{folder}' has usable clips of fewer than two people; add clips of other people."
        )
    if not labels.any():
        raise EvaluationError(
            f"Nobody in '{folder}' has two usable clips, so nothing tells how alike the clips of "
            "one person are; add a second recording of some people."
        )
