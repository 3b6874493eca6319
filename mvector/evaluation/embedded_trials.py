"""Embeddings for trials: every clip of the lists once, trials of unusable clips left out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mvector.data.lists import ClipList, read_list
from mvector.embedding.encoder import EmbeddedClips, SpeakerEncoder
from mvector.embedding.extraction import extract_embeddings
from mvector.errors import EvaluationError
from mvector.evaluation.clip_places import existing_paths
from mvector.evaluation.metadata import SPEAKER, read_speakers
from mvector.scoring.enrolment import (
    ScoreFunction,
    concatenate_enrolment_clips,
    describe_enrolment,
    score_models,
)
from mvector.scoring.trial_checks import check_both_kinds, check_trials
from mvector.scoring.trial_lists import is_trials_file, read_trials
from mvector.scoring.trial_speakers import TrialSpeakers, find_speakers
from mvector.scoring.trials import (
    AllPairs,
    PairTrials,
    Trials,
    all_pairs,
    drop_self_comparisons,
    drop_unusable_clips,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddedTrials:
    """Trials all clips of which have embeddings, ready for any kind of score.

    Attributes:
        description: the lists, in words.
        trials: which clips are compared.
        enrolled: float32 ``(E, D)``, one row for each of ``trials.enroll_paths``; where those are
            models, the same array as ``tested``.
        tested: float32 ``(T, D)``, one row for each of ``trials.test_paths``.
        method: how models are enrolled, see
            :func:`mvector.scoring.enrolment.describe_enrolment`.
        enrolment: the same in words; ``None`` where every model is one clip.
        num_skipped: clips that are missing or could not be used.
        num_trials_left_out: trials that are not in ``trials``, because of those clips.
        speakers: whose clips are compared.
        num_self_trials: listed trials of a clip with itself, which are no trials.
    """

    description: str
    trials: Trials
    enrolled: np.ndarray
    tested: np.ndarray
    method: str
    enrolment: str | None
    num_skipped: int
    num_trials_left_out: int
    speakers: TrialSpeakers
    num_self_trials: int = 0

    def score(self, compare: ScoreFunction) -> np.ndarray:
        """Scores ``(trials,)`` in the order of ``trials.labels``, as ``compare`` gives them."""
        if isinstance(self.trials, PairTrials) and self.trials.models is not None:
            return score_models(self.tested, self.trials, self.method, compare)
        return compare(self.enrolled, self.tested, self.trials)


def embed_trials(
    encoder: SpeakerEncoder,
    trials_list: str,
    enroll_list: str | None = None,
    *,
    root: str | None = None,
    enrolment: str = "mean",
    skip_missing: bool = False,
    speakers: str | None = None,
    **options: Any,
) -> EmbeddedTrials:
    """Embeddings of all clips of trials, each computed once; trials of unusable clips left out.

    The arguments are those of :func:`mvector.evaluation.run.verify_lists`, and ``options`` those of
    :func:`extract_embeddings`.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate, or clips are missing.
    """
    enrolment_words = describe_enrolment(enrolment)
    names = None if speakers is None else partial(read_speakers(speakers, root).values, SPEAKER)
    if not is_trials_file(trials_list):
        if names is not None:
            raise EvaluationError(
                f"'{speakers}' has no use here: {trials_list} says whose each clip is; leave out "
                "--speakers.",
                code="trial-speakers",
            )
        enroll, test = _read_clip_lists(enroll_list, trials_list, root, skip_missing)
        return _embed_all_pairs(encoder, enroll, test, enrolment, options)
    trials, num_self_trials = _read_pairs(trials_list, enroll_list, root, skip_missing)
    listed, who = trials, find_speakers(trials, names, speakers or "")
    has_models = trials.models is not None
    clips: list[tuple[str, ...]] = [(path,) for path in trials.paths]
    if has_models and enrolment == "concat":
        trials, clips = concatenate_enrolment_clips(trials)
    table = extract_embeddings(encoder, clips, **options)
    _log_failures(trials.paths, table)
    if table.failures:
        is_usable = np.zeros(len(clips), dtype=bool)
        is_usable[table.good] = True
        before = trials
        trials = drop_unusable_clips(trials, is_usable)
        _log_dropped_trials(before, trials)
        check_both_kinds(trials, trials_list=trials_list)
    description = f"{trials_list} ({len(trials)} trials)"
    if has_models:
        description = f"{description[:-1]}, enrolled by {enrolment_words})"
    return EmbeddedTrials(
        description,
        trials,
        table.embeddings,
        table.embeddings,
        enrolment,
        enrolment_words if has_models else None,
        len(table.failures),
        len(listed) - len(trials),
        who.of_part(listed, trials),
        num_self_trials,
    )


def check_lists(
    trials_list: str,
    enroll_list: str | None,
    *,
    root: str | None = None,
    skip_missing: bool = False,
) -> None:
    """Refuse lists that no error rate can be measured on, without decoding a clip.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate, or clips are missing.
    """
    if is_trials_file(trials_list):
        _read_pairs(trials_list, enroll_list, root, skip_missing)
    else:
        _read_clip_lists(enroll_list, trials_list, root, skip_missing)


def _read_pairs(
    trials_list: str, enroll_list: str | None, root: str | None, skip_missing: bool
) -> tuple[PairTrials, int]:
    """Listed trials with the places of their clips, and how many are left out as no trials."""
    listed = read_trials(trials_list, root, enroll_list)
    check_trials(listed, trials_list=trials_list)
    paths = tuple(existing_paths(listed.paths, trials_list, skip_missing))
    trials = drop_self_comparisons(replace(listed, paths=paths))
    num_self_trials = len(listed) - len(trials)
    if num_self_trials:
        logger.warning(
            "%s: %d of %d trials compare a clip with itself and are left out.",
            trials_list,
            num_self_trials,
            len(listed),
        )
        check_both_kinds(trials, trials_list=trials_list)
    return trials, num_self_trials


def _read_clip_lists(
    enroll_list: str | None, trials_list: str, root: str | None, skip_missing: bool
) -> tuple[ClipList, ClipList]:
    """Lists for enrolment and test that allow an error rate, with the places of their clips."""
    if enroll_list is None:
        raise EvaluationError(
            f"{trials_list} lists clips, and there is no enrolment list to compare them with; "
            "set dataset_conf.enroll_list, or give pairs 'label path path'."
        )
    enroll, test = read_list(enroll_list, root=root), read_list(trials_list, root=root)
    _check_all_pairs(enroll, test)  # mistakes of the lists come before missing clips
    listed = _distinct_paths(enroll, test)
    places = existing_paths(listed, _describe_pair(enroll, test), skip_missing)
    place_of = dict(zip(listed, places, strict=True))
    enroll, test = (
        replace(clips, paths=[place_of[path] for path in clips.paths]) for clips in (enroll, test)
    )
    return enroll, test


def _check_all_pairs(enroll: ClipList, test: ClipList) -> AllPairs:
    trials = all_pairs(enroll.paths, enroll.labels, test.paths, test.labels)
    check_trials(trials, enroll_list=enroll.source, trials_list=test.source)
    return trials


def _distinct_paths(enroll: ClipList, test: ClipList) -> list[str]:
    return list(dict.fromkeys([*enroll.paths, *test.paths]))  # a clip on both is heard once


def _describe_pair(enroll: ClipList, test: ClipList) -> str:
    return f"{enroll.source} x {test.source}"


def _embed_all_pairs(
    encoder: SpeakerEncoder,
    enroll: ClipList,
    test: ClipList,
    method: str,
    options: dict[str, Any],
) -> EmbeddedTrials:
    trials = all_pairs(enroll.paths, enroll.labels, test.paths, test.labels)
    num_listed = len(trials)
    paths = _distinct_paths(enroll, test)
    table = extract_embeddings(encoder, paths, **options)
    _log_failures(paths, table)
    row_of = {paths[position]: row for row, position in enumerate(table.good)}
    if table.failures:
        enroll, test = _usable_clips(enroll, row_of), _usable_clips(test, row_of)
        trials = _check_all_pairs(enroll, test)
    return EmbeddedTrials(
        f"{_describe_pair(enroll, test)} ({len(trials)} trials)",
        trials,
        table.embeddings[[row_of[path] for path in enroll.paths]],
        table.embeddings[[row_of[path] for path in test.paths]],
        method,
        None,
        len(table.failures),
        num_listed - len(trials),
        find_speakers(trials),
    )


def _usable_clips(clips: ClipList, row_of: dict[str, int]) -> ClipList:
    kept = [i for i, path in enumerate(clips.paths) if path in row_of]
    return ClipList(clips.source, [clips.paths[i] for i in kept], clips.labels[kept])


def _log_failures(paths: Sequence[str], table: EmbeddedClips) -> None:
    failures = table.failures
    if len(failures) == len(paths):
        raise EvaluationError(
            f"None of the {len(paths)} clips can be used (the first: {failures[0][1]})"
        )
    for _, reason in failures[:5]:
        logger.warning("Skipped: %s", reason)
    if failures:
        logger.warning(
            "%d of %d clips could not be used and are left out.", len(failures), len(paths)
        )


def _log_dropped_trials(before: PairTrials, after: PairTrials) -> None:
    if before.models is not None and after.models is not None:
        lost = sorted({*before.models.names} - {*after.models.names})
        if lost:
            logger.warning(
                "%s: %d of %d enrolment models have no usable clip, such as '%s'.",
                before.source,
                len(lost),
                len(before.models.names),
                lost[0],
            )
    num_lost = len(before) - len(after)
    logger.warning("%s: %d of %d trials are left out.", before.source, num_lost, len(before))
