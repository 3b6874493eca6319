"""Calibration on a user's own clips: a folder for each person, every clip against every other."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import numpy as np

from mvector.audio import Channel, with_channel
from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.folder import scan_folder
from mvector.data.lists import clips_of_each_speaker
from mvector.embedding.encoder import SpeakerEncoder
from mvector.errors import DataError, EvaluationError, count_of
from mvector.evaluation.bootstrap import Interval, bootstrap_intervals
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.calibration_fit import calibrate
from mvector.evaluation.held_out import HeldOutCheck, held_out_check_if_possible
from mvector.evaluation.quality import clip_measures, trial_quality
from mvector.scoring.cosine import cosine_scores
from mvector.scoring.trials import PairTrials

logger = logging.getLogger(__name__)

MAX_CLIPS = 10_000  # 5 * 10^7 pairs
_NUM_REPLICATES = 300

# No two recordings are as alike as this; the same audio twice is, whatever its format.
_SAME_AUDIO_COSINE = 0.99995


@dataclass(frozen=True)
class ClipCalibration:
    """What a user's clips say of a model.

    Attributes:
        calibration: thresholds and ratio.
        num_people: people with a clip that could be used.
        num_clips: clips that were compared.
        num_skipped: clips that could not be used.
        eer_interval: EER, and where it lies for other choices of people with a confidence of 95 %;
            ``None`` with too few of them.
        held_out: measured on people that did not calibrate; ``None`` with too few of them.
    """

    calibration: Calibration
    num_people: int
    num_clips: int
    num_skipped: int
    eer_interval: Interval | None
    held_out: HeldOutCheck | None


def calibrate_on_clips(
    encoder: SpeakerEncoder,
    folder: str | os.PathLike[str],
    *,
    max_clips_per_person: int | None = 50,
    with_quality: bool = False,
    channel: Channel | None = None,
    progress: bool = False,
) -> ClipCalibration:
    """Compare every clip with every other one, and calibrate on these pairs.

    Args:
        encoder: the model.
        folder: holds ``<person>/**/<clip>``.
        max_clips_per_person: take so many clips of a person, evenly from the sorted ones; ``None``
            takes all.
        with_quality: measure the clips too (speech, SNR, channel), for ratios that know it.
        channel: which channel is heard of all clips; ``None`` is what the model says.
        progress: show bars.

    Raises:
        DataError: the folder holds no clips of several people, or too many.
        EvaluationError: the clips allow no error rate.
    """
    clips = _limit_clips(scan_folder(folder), max_clips_per_person)
    table = encoder.embed_readable(
        [with_channel(clip.path, channel) for clip in clips],
        measured=with_quality,
        progress=progress,
    )
    for _, reason in table.failures[:5]:
        logger.warning("Skipped: %s", reason)
    clips = [clips[position] for position in table.good]
    _, person = np.unique([clip.speaker for clip in clips], return_inverse=True)
    first, second = (side.astype(np.int32) for side in np.triu_indices(len(clips), 1))
    paths, labels = tuple(clip.path for clip in clips), person[first] == person[second]
    trials = PairTrials(os.fspath(folder), paths, first, second, labels)
    scores = cosine_scores(table.embeddings, table.embeddings, trials, progress=progress)
    quality = None
    if table.reports is not None:
        measured = clip_measures(table.reports)
        quality = trial_quality(measured, measured, trials)
    is_pair = _is_distinct_audio(scores, trials)
    scores, labels = scores[is_pair], trials.labels[is_pair]
    quality = None if quality is None else quality[is_pair]
    _check_both_kinds(labels, folder)
    speakers = person[trials.enroll_index[is_pair]], person[trials.test_index[is_pair]]
    num_people = len(np.unique(person))
    description = f"{os.fspath(folder)} ({num_people} people, {len(scores)} trials)"
    return ClipCalibration(
        calibrate(
            scores, labels, description=description, quality=quality, num_speakers=num_people
        ),
        num_people,
        len(clips),
        len(table.failures),
        _eer_interval(scores, labels, speakers),
        held_out_check_if_possible(scores, labels, speakers, quality),
    )


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


def _eer_interval(
    scores: np.ndarray, labels: np.ndarray, speakers: tuple[np.ndarray, np.ndarray]
) -> Interval | None:
    try:
        return bootstrap_intervals(scores, labels, *speakers, num_replicates=_NUM_REPLICATES).eer
    except EvaluationError as error:
        logger.info("No interval: %s", error)
        return None
