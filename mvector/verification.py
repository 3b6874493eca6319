"""Error rates of a model on lists of clips: lists -> embeddings -> scores -> calibration."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mvector.data.lists import ClipList, read_list
from mvector.errors import EvaluationError
from mvector.evaluation import (
    AllPairs,
    Calibration,
    PairTrials,
    Trials,
    all_pairs,
    calibrate,
    check_trials,
    cosine_scores,
    is_trials_file,
    read_trials,
)
from mvector.speakers.encoder import SpeakerEncoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VerificationResult:
    """Scores of all trials and what follows from them.

    Attributes:
        scores: ``(trials,)`` cosines.
        labels: ``(trials,)`` True where both clips are of the same speaker.
        calibration: error rates and thresholds.
        num_skipped: clips that could not be read.
    """

    scores: np.ndarray
    labels: np.ndarray
    calibration: Calibration
    num_skipped: int


def verify_lists(
    encoder: SpeakerEncoder,
    trials_list: str,
    enroll_list: str | None = None,
    *,
    root: str | None = None,
    batch_size: int = 16,
    max_duration_s: float | None = 20.0,
    progress: bool = False,
) -> VerificationResult:
    """Measure a model's verification error rates.

    Args:
        encoder: the model.
        trials_list: test clips ``path<TAB>label``, each compared with every clip of
            ``enroll_list``; or pairs ``label path path``, which need no enrolment list.
        enroll_list: enrolment clips ``path<TAB>label``.
        root: folder that relative clip paths start from; ``None`` is the working directory.
        batch_size: clips computed at once.
        max_duration_s: hear only the beginning of longer clips.
        progress: show bars over clips and trials.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate.
    """
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "max_duration_s": max_duration_s,
        "progress": progress,
    }
    trials: Trials
    if is_trials_file(trials_list):
        trials, enrolled, tested, num_skipped = _listed_pairs(encoder, trials_list, root, options)
    else:
        enroll, test = _read_both(enroll_list, trials_list, root)
        trials, enrolled, tested, num_skipped = _every_pair(encoder, enroll, test, options)
    scores = cosine_scores(enrolled, tested, trials, progress=progress)
    compared = trials_list if isinstance(trials, PairTrials) else f"{enroll_list} x {trials_list}"
    description = f"{compared} ({len(scores)} trials)"
    calibration = calibrate(scores, trials.labels, description=description)
    return VerificationResult(scores, trials.labels, calibration, num_skipped)


def check_lists(trials_list: str, enroll_list: str | None, *, root: str | None = None) -> None:
    """Refuse lists that no error rate can be measured on, without decoding a clip.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate.
    """
    if is_trials_file(trials_list):
        check_trials(read_trials(trials_list, root), trials_list=trials_list)
        return
    enroll, test = _read_both(enroll_list, trials_list, root)
    trials = all_pairs(enroll.paths, enroll.labels, test.paths, test.labels)
    check_trials(trials, enroll_list=enroll.source, trials_list=test.source)


def _read_both(
    enroll_list: str | None, trials_list: str, root: str | None
) -> tuple[ClipList, ClipList]:
    if enroll_list is None:
        raise EvaluationError(
            f"{trials_list} lists clips, and there is no enrolment list to compare them with; "
            "set dataset_conf.enroll_list, or give pairs 'label path path'."
        )
    return read_list(enroll_list, root=root), read_list(trials_list, root=root)


def _every_pair(
    encoder: SpeakerEncoder, enroll: ClipList, test: ClipList, options: dict[str, Any]
) -> tuple[AllPairs, np.ndarray, np.ndarray, int]:
    names = {"enroll_list": enroll.source, "trials_list": test.source}
    check_trials(all_pairs(enroll.paths, enroll.labels, test.paths, test.labels), **names)
    paths = list(dict.fromkeys([*enroll.paths, *test.paths]))  # a clip on both lists is heard once
    table = encoder.embed_readable(paths, **options)
    _report(paths, table.failures)
    row_of = {paths[position]: row for row, position in enumerate(table.good)}
    enroll, test = _readable(enroll, row_of), _readable(test, row_of)
    trials = all_pairs(enroll.paths, enroll.labels, test.paths, test.labels)
    if table.failures:
        check_trials(trials, **names)
    enrolled = table.embeddings[[row_of[path] for path in enroll.paths]]
    tested = table.embeddings[[row_of[path] for path in test.paths]]
    return trials, enrolled, tested, len(table.failures)


def _readable(clips: ClipList, row_of: dict[str, int]) -> ClipList:
    kept = [i for i, path in enumerate(clips.paths) if path in row_of]
    return ClipList(clips.source, [clips.paths[i] for i in kept], clips.labels[kept])


def _listed_pairs(
    encoder: SpeakerEncoder, trials_list: str, root: str | None, options: dict[str, Any]
) -> tuple[PairTrials, np.ndarray, np.ndarray, int]:
    trials = read_trials(trials_list, root)
    check_trials(trials, trials_list=trials_list)
    table = encoder.embed_readable(trials.paths, **options)
    _report(trials.paths, table.failures)
    if table.failures:
        row_of = np.full(len(trials.paths), -1, dtype=np.int32)
        row_of[table.good] = np.arange(len(table.good), dtype=np.int32)
        enroll_index, test_index = row_of[trials.enroll_index], row_of[trials.test_index]
        kept = (enroll_index >= 0) & (test_index >= 0)
        trials = replace(
            trials,
            paths=tuple(trials.paths[position] for position in table.good),
            enroll_index=enroll_index[kept],
            test_index=test_index[kept],
            labels=trials.labels[kept],
        )
        check_trials(trials, trials_list=trials_list)
    return trials, table.embeddings, table.embeddings, len(table.failures)


def _report(paths: tuple[str, ...] | list[str], failures: list[tuple[int, str]]) -> None:
    if len(failures) == len(paths):
        raise EvaluationError(
            f"None of the {len(paths)} clips can be read (the first: {failures[0][1]}) "
            f"Relative paths start from '{os.getcwd()}' unless dataset_conf.data_root is set."
        )
    for _, reason in failures[:5]:
        logger.warning("Skipped: %s", reason)
    if failures:
        logger.warning(
            "%d of %d clips could not be used and are left out.", len(failures), len(paths)
        )
