"""What is checked before any embedding is computed: that the lists allow an error rate at all."""

from __future__ import annotations

import logging

import numpy as np

from mvector.errors import EvaluationError
from mvector.scoring.trials import AllPairs, PairTrials, Trials

logger = logging.getLogger(__name__)


def check_trials(trials: Trials, *, trials_list: str, enroll_list: str = "") -> None:
    """Refuse trials that no error rate can be measured from, before any embedding is computed.

    Test speakers who give no target trial, and trials listed more than once, are counted in a
    warning.

    Args:
        trials: what :func:`mvector.scoring.all_pairs` or :func:`mvector.scoring.read_trials` gave.
        trials_list: how messages call the list of trials, or of test clips.
        enroll_list: how messages call the enrolment list; only all pairs have one.

    Raises:
        EvaluationError: there are only target or only non-target trials, one pair is listed as
            both, or the two lists give one clip to different speakers.
    """
    if isinstance(trials, PairTrials):
        check_both_kinds(trials, trials_list=trials_list)
        _check_repetitions(trials, trials_list)
        return
    for paths, name in ((trials.enroll_paths, enroll_list), (trials.test_paths, trials_list)):
        if not paths:
            raise EvaluationError(f"{name} holds no clips, so there are no trials; add clips.")
    _check_labels_agree(trials, enroll_list, trials_list)
    if trials.num_target == 0:
        shared = np.intersect1d(trials.test_labels, trials.enroll_labels)
        if len(shared) == 0:
            raise EvaluationError(
                f"{trials_list}: no clip belongs to a speaker of {enroll_list}, so there are no "
                "target trials; enrol the speakers under test, with the same label in both lists."
            )
        raise EvaluationError(
            f"{trials_list}: no speaker of {enroll_list} has another clip here than the enrolled "
            "one, so there are no target trials; add a second clip of the same speakers."
        )
    if trials.num_target == len(trials):
        raise EvaluationError(
            f"{enroll_list} and {trials_list} compare no clips of different speakers, so there are "
            "no non-target trials; add clips of other speakers to both."
        )
    _warn_about_speakers_without_targets(trials, enroll_list, trials_list)


def check_both_kinds(trials: PairTrials, *, trials_list: str) -> None:
    """Refuse listed trials of one kind.

    Raises:
        EvaluationError: there are only target or only non-target trials.
    """
    if trials.labels.all() or not trials.labels.any():
        label, missing = ("1", "0") if trials.labels.all() else ("0", "1")
        kind = "non-target" if label == "1" else "target"
        raise EvaluationError(
            f"{trials_list}: every trial is labelled {label}, so there are no {kind} trials; "
            f"add pairs labelled {missing}.",
            code="trials-of-one-kind",
        )


def _check_repetitions(trials: PairTrials, trials_list: str) -> None:
    left, right = trials.enroll_index.astype(np.int64), trials.test_index.astype(np.int64)
    if trials.models is None:  # the score of two clips is the same either way round
        left, right = np.minimum(left, right), np.maximum(left, right)
    num_clips = len(trials.paths)
    distinct = np.unique((left * num_clips + right) * 2 + trials.labels)
    pairs = distinct >> 1
    both = np.flatnonzero(pairs[1:] == pairs[:-1])
    if len(both):
        first, second = divmod(int(pairs[both[0]]), num_clips)
        raise EvaluationError(
            f"{trials_list}: '{trials.enroll_paths[first]}' and '{trials.paths[second]}' are "
            "listed as the same speaker and as different speakers; correct one of the lines."
        )
    num_repeated = len(trials) - len(distinct)
    if num_repeated:
        logger.warning(
            "%s: %d of %d trials repeat another one and count again.",
            trials_list,
            num_repeated,
            len(trials),
        )


def _warn_about_speakers_without_targets(
    trials: AllPairs, enroll_list: str, trials_list: str
) -> None:
    speakers, test_speaker = np.unique(trials.test_labels, return_inverse=True)
    enrolled_labels, enrolled_counts = np.unique(trials.enroll_labels, return_counts=True)
    place = np.searchsorted(enrolled_labels, speakers).clip(max=len(enrolled_labels) - 1)
    num_enrolled = np.where(enrolled_labels[place] == speakers, enrolled_counts[place], 0)
    num_test = np.bincount(test_speaker, minlength=len(speakers))
    # Labels agree between the lists here, so each self pair took one target trial away.
    self_tests = trials.self_pairs // len(trials.enroll_paths)
    num_self = np.bincount(test_speaker[self_tests], minlength=len(speakers))
    num_absent = int(np.count_nonzero(num_enrolled == 0))
    num_single = int(np.count_nonzero((num_enrolled > 0) & (num_enrolled * num_test == num_self)))
    if num_absent:
        logger.warning(
            "%s: %d of %d speakers have no clip in %s and give non-target trials only.",
            trials_list,
            num_absent,
            len(speakers),
            enroll_list,
        )
    if num_single:
        logger.warning(
            "%s: %d of %d speakers have a single clip, the one in %s, and give non-target "
            "trials only.",
            trials_list,
            num_single,
            len(speakers),
            enroll_list,
        )


def _check_labels_agree(trials: AllPairs, enroll_list: str, trials_list: str) -> None:
    tests, enrolled = np.divmod(trials.self_pairs, len(trials.enroll_paths))
    differ = np.flatnonzero(trials.test_labels[tests] != trials.enroll_labels[enrolled])
    if len(differ):
        test, enroll = int(tests[differ[0]]), int(enrolled[differ[0]])
        raise EvaluationError(
            f"'{trials.test_paths[test]}' is speaker {trials.test_labels[test]} in {trials_list} "
            f"and speaker {trials.enroll_labels[enroll]} in {enroll_list}; "
            "number the speakers alike in both lists."
        )
