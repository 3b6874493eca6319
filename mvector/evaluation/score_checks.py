"""What scores and labels must be before anything is measured on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError


def checked_trials(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels as arrays that can be measured.

    Args:
        scores: ``(num_trials,)`` finite numbers.
        labels: ``(num_trials,)`` of 0 and 1, or False and True.

    Returns:
        The scores as float32 or float64, and the labels as bool.

    Raises:
        EvaluationError: different lengths, a label that is not 0 or 1, a score that is NaN or
            infinite, or no target or no non-target trial.
    """
    score_array = _as_column(scores, "Scores")
    if score_array.dtype not in (np.float32, np.float64):
        score_array = score_array.astype(np.float64)
    label_array = _as_column(labels, "Labels")
    if len(score_array) != len(label_array):
        raise EvaluationError(
            f"There are {len(score_array)} scores and {len(label_array)} labels; "
            "give one label for each score."
        )
    is_target = label_array.astype(bool)
    num_odd = int(np.count_nonzero(label_array != is_target))
    if num_odd:
        raise EvaluationError(
            f"{num_odd} of {len(label_array)} labels are neither 0 nor 1; "
            "label a trial 1 for the same speaker and 0 for different speakers."
        )
    num_bad = len(score_array) - int(np.count_nonzero(np.isfinite(score_array)))
    if num_bad:
        raise EvaluationError(
            f"{num_bad} of {len(score_array)} scores are NaN or infinite "
            f"({int(np.count_nonzero(np.isnan(score_array)))} NaN); check the embeddings.",
            code="scores-not-finite",
        )
    check_both_kinds(int(np.count_nonzero(is_target)), len(is_target))
    return score_array, is_target


def check_both_kinds(num_target: int, num_trials: int) -> None:
    """Refuse trials of one kind.

    Raises:
        EvaluationError: no target or no non-target trial.
    """
    if num_target == 0:
        raise EvaluationError(
            "There are no target trials (label 1), so no error rate can be measured; "
            "add pairs of clips of the same speaker.",
            code="trials-of-one-kind",
        )
    if num_target == num_trials:
        raise EvaluationError(
            "There are no non-target trials (label 0), so no error rate can be measured; "
            "add pairs of clips of different speakers.",
            code="trials-of-one-kind",
        )


def _as_column(values: ArrayLike, name: str) -> np.ndarray:
    array: np.ndarray[Any, Any] = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "buif":
        raise EvaluationError(
            f"{name} must be numbers of shape (num_trials,); "
            f"got shape {array.shape} and type {array.dtype}."
        )
    return array
