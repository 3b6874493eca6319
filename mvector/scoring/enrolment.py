"""People enrolled with several clips: what a test clip is compared with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from mvector.errors import EvaluationError
from mvector.scoring.trials import EnrolmentModels, PairTrials, Trials

# Scores of embeddings of ``enroll_paths`` and ``test_paths``, as `cosine_scores` gives them.
ScoreFunction: TypeAlias = Callable[[np.ndarray, np.ndarray, Trials], np.ndarray]

_METHODS = {
    "mean": "mean of unit vectors",
    "raw-mean": "mean of embeddings",
    "max": "highest score",
    "concat": "clips heard one behind the other",
    "joint": "all clips jointly",
}


def describe_enrolment(method: str) -> str:
    """A way of enrolling several clips, in words.

    Args:
        method: ``mean`` (of the clips' unit vectors), ``raw-mean`` (of their embeddings as they
            are), ``max`` (the highest of their scores), ``top-N`` (the mean of the N highest of
            their scores, such as ``top-3``), ``concat`` (the clips are heard as one), or ``joint``
            (a back end such as PLDA is given all clips).

    Raises:
        EvaluationError: there is no such way.
    """
    if method in _METHODS:
        return _METHODS[method]
    return f"mean of the {_top_n(method)} highest scores"


def score_models(
    embeddings: np.ndarray, trials: PairTrials, method: str, compare: ScoreFunction
) -> np.ndarray:
    """Scores of trials of models that have several clips each.

    Args:
        embeddings: float ``(clips, D)``, one row for each of ``trials.paths``.
        trials: with models.
        method: any of :func:`describe_enrolment` but ``concat``, which needs the audio.
        compare: gives the scores of enrolment embeddings, test embeddings and trials.

    Returns:
        ``(num_trials,)`` in the order of ``trials.labels``.

    Raises:
        EvaluationError: there is no such method, or ``compare`` refuses the embeddings.
    """
    models = trials.models
    if models is None or method == "joint":
        return compare(embeddings, embeddings, trials)
    if method in ("mean", "raw-mean"):
        return compare(
            mean_embeddings(embeddings, models, unit=method == "mean"), embeddings, trials
        )
    top_n = 1 if method == "max" else _top_n(method)
    counts = models.num_clips[trials.enroll_index]
    of_clips = replace(
        trials,
        enroll_index=models.clips[_concatenated_ranges(models.starts[trials.enroll_index], counts)],
        test_index=np.repeat(trials.test_index, counts),
        labels=np.repeat(trials.labels, counts),
        models=None,
    )
    return _mean_of_highest(compare(embeddings, embeddings, of_clips), counts, top_n)


def concatenate_enrolment_clips(trials: PairTrials) -> tuple[PairTrials, list[tuple[str, ...]]]:
    """Trials in which each model is one clip: its clips, one behind the other.

    Returns:
        Trials of single clips, the paths of which are those of the tested clips and the names of
        the models; and for each of them the files to hear.
    """
    models = trials.models
    if models is None:
        return trials, [(path,) for path in trials.paths]
    tested, test_index = np.unique(trials.test_index, return_inverse=True)
    test_paths = tuple(trials.paths[clip] for clip in tested)
    of_models = np.split(models.clips, models.starts[1:-1])
    joined = replace(
        trials,
        paths=(*test_paths, *models.names),
        enroll_index=(trials.enroll_index + len(tested)).astype(np.int32),
        test_index=test_index.astype(np.int32),
        models=None,
    )
    files = [tuple(trials.paths[clip] for clip in clips) for clips in of_models]
    return joined, [*((path,) for path in test_paths), *files]


def mean_embeddings(embeddings: np.ndarray, models: EnrolmentModels, *, unit: bool) -> np.ndarray:
    """Mean embedding of each model's clips: float32 ``(M, D)``; ``unit``: of their directions."""
    rows = embeddings[models.clips].astype(np.float64)
    if unit:
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    sums = np.add.reduceat(rows, models.starts[:-1], axis=0)
    return (sums / models.num_clips[:, None]).astype(np.float32)


def _top_n(method: str) -> int:
    found = re.fullmatch(r"top-([1-9][0-9]{0,5})", method)
    if found is None:
        raise EvaluationError(
            f"'{method}' is no way of enrolling several clips; choose mean, raw-mean, max, top-3 "
            "(or another number) or concat."
        )
    return int(found.group(1))


def _concatenated_ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers ``start, start + 1, ...`` of each range, one range behind the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) + np.repeat(starts - (ends - counts), counts)


def _mean_of_highest(scores: np.ndarray, counts: np.ndarray, top_n: int) -> np.ndarray:
    """Mean of the highest scores of each of consecutive groups; of all where there are fewer."""
    ends = np.cumsum(counts)
    starts = ends - counts
    if top_n == 1:
        return np.maximum.reduceat(scores, starts)
    group = np.repeat(np.arange(len(counts)), counts)
    ordered = scores[np.lexsort((-scores, group))]
    is_counted = np.arange(len(scores)) - starts[group] < top_n
    sums = np.add.reduceat(np.where(is_counted, ordered, 0), starts)
    return (sums / np.minimum(counts, top_n)).astype(scores.dtype)
