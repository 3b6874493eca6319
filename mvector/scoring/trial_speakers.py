"""Whose clips a trial compares, for intervals that draw speakers."""

from __future__ import annotations

import numpy as np

from mvector.scoring.trials import AllPairs, Trials


def count_speakers(trials: Trials) -> int:
    """Different speakers of the trials, as :func:`trial_speakers` numbers them."""
    if isinstance(trials, AllPairs):
        return len(np.union1d(trials.enroll_labels, trials.test_labels))
    return len(np.unique(np.concatenate(trial_speakers(trials))))


def trial_speakers(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Speaker of each side of every trial.

    A list of pairs does not name its speakers; there, clips that target trials join, directly or
    through others, are of one. Clips of one speaker that no target trial joins count as several.

    Returns:
        int64 ``(num_trials,)`` of the enrolment side and of the test side, numbered alike, in the
        order of ``trials.labels``.
    """
    if isinstance(trials, AllPairs):
        shape = (len(trials.test_paths), len(trials.enroll_paths))
        enrolled = np.broadcast_to(trials.enroll_labels, shape).ravel()
        tested = np.broadcast_to(trials.test_labels[:, None], shape).ravel()
        return np.delete(enrolled, trials.self_pairs), np.delete(tested, trials.self_pairs)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    models = trials.models
    num_clips = len(trials.paths)
    enroll_index = trials.enroll_index.astype(np.int64)
    one, other = enroll_index[trials.labels], trials.test_index[trials.labels]
    num_nodes = num_clips
    if models is not None:  # models are numbered behind the clips
        num_nodes += len(models.names)
        enroll_index = enroll_index + num_clips
        owners = np.repeat(np.arange(len(models.names)), models.num_clips) + num_clips
        one = np.concatenate([one + num_clips, owners])
        other = np.concatenate([other, models.clips])
    joined = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(num_nodes, num_nodes))
    _, speaker = connected_components(joined.tocsr(), directed=False)
    speaker = speaker.astype(np.int64)
    return speaker[enroll_index], speaker[trials.test_index]
