"""Error rates of a verification system: the curve, and the figures read from it.

A trial is accepted when ``score >= threshold``. FNR (miss rate) is the share of target trials
that are rejected, FPR (false-acceptance rate) the share of non-target trials that are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError


@dataclass(frozen=True)
class MinDcf:
    """The lowest normalised detection cost, and the operating point that reaches it."""

    min_dcf: float
    threshold: float
    fnr: float
    fpr: float


@dataclass(frozen=True, eq=False)
class DetCurve:
    """Every operating point that a set of scores allows, from accept-all to reject-all.

    Attributes:
        thresholds: float64 ``(num_points,)``, ascending: each distinct score once, then the next
            number above the highest score (in the type of the scores), which rejects every trial.
        fnr: float64 ``(num_points,)``, rising from 0 to 1.
        fpr: float64 ``(num_points,)``, falling from 1 to 0.
        num_target: target trials counted.
        num_nontarget: non-target trials counted.
    """

    thresholds: np.ndarray
    fnr: np.ndarray
    fpr: np.ndarray
    num_target: int
    num_nontarget: int

    def eer(self) -> tuple[float, float]:
        """Equal error rate and its threshold; see :func:`compute_eer`."""
        difference = self.fnr - self.fpr  # never falls: -1 at accept-all, +1 at reject-all
        after = int(np.searchsorted(difference, 0.0))  # first point with FNR >= FPR, at least 1
        before = after - 1
        weight = -difference[before] / (difference[after] - difference[before])

        def between(values: np.ndarray) -> float:
            return float(values[before] + weight * (values[after] - values[before]))

        return between(self.fnr), between(self.thresholds)

    def min_dcf(self, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> MinDcf:
        """Lowest normalised detection cost; see :func:`compute_min_dcf`."""
        if not (0.0 < p_target < 1.0 and 0.0 < c_miss < np.inf and 0.0 < c_fa < np.inf):
            raise EvaluationError(
                f"The detection cost needs 0 < p_target < 1 and positive costs; "
                f"got p_target {p_target}, c_miss {c_miss}, c_fa {c_fa}."
            )
        miss_cost, fa_cost = c_miss * p_target, c_fa * (1.0 - p_target)
        cost = miss_cost * self.fnr + fa_cost * self.fpr
        best = _last_lowest(cost)
        return MinDcf(
            min_dcf=float(cost[best] / min(miss_cost, fa_cost)),
            threshold=float(self.thresholds[best]),
            fnr=float(self.fnr[best]),
            fpr=float(self.fpr[best]),
        )

    def best_accuracy(self) -> tuple[float, float]:
        """Highest share of right decisions and its threshold; see :func:`best_accuracy`."""
        # The rates are counts divided by totals; rounding makes the counts whole again.
        errors = np.rint(self.fnr * self.num_target) + np.rint(self.fpr * self.num_nontarget)
        best = _last_lowest(errors)
        num_trials = self.num_target + self.num_nontarget
        return float((num_trials - errors[best]) / num_trials), float(self.thresholds[best])

    def threshold_at_fpr(self, max_fpr: float) -> float | None:
        """Lowest threshold whose measured FPR is at most ``max_fpr``.

        Returns:
            The threshold; ``None`` with fewer than ``1 / max_fpr`` non-target trials, which
            cannot tell such a rate from zero.
        """
        if self.num_nontarget * max_fpr < 1.0:
            return None
        first = np.searchsorted(-self.fpr, -max_fpr)
        return float(self.thresholds[first])


def error_rates(scores: ArrayLike, labels: ArrayLike) -> DetCurve:
    """Measure FNR and FPR at every threshold that matters.

    Tied scores cannot be told apart by any threshold, so they make one step of the curve.

    Args:
        scores: float ``(num_trials,)``, higher means more alike; float32 and float64 are taken
            as they are, anything else becomes float64.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.

    Returns:
        The curve, with at most ``num_trials + 1`` points.

    Raises:
        EvaluationError: different lengths, a label that is not 0 or 1, a score that is NaN or
            infinite, or no target or no non-target trial.
    """
    score_array, is_target = _checked(scores, labels)
    # Two value sorts run several times faster than one argsort and the gather behind it.
    ordered = np.sort(score_array)
    targets = np.sort(score_array[is_target])
    num_trials, num_target = len(ordered), len(targets)

    is_first = np.empty(num_trials, dtype=bool)
    is_first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    num_below = np.append(np.flatnonzero(is_first), num_trials)
    distinct = ordered[is_first]

    targets_per_score = np.bincount(np.searchsorted(distinct, targets), minlength=len(distinct))
    num_missed = np.concatenate([[0], np.cumsum(targets_per_score)])
    num_nontarget = num_trials - num_target
    num_false_accepted = num_nontarget - (num_below - num_missed)
    reject_all = np.nextafter(distinct[-1], np.inf, dtype=distinct.dtype)
    return DetCurve(
        thresholds=np.append(distinct, reject_all).astype(np.float64),
        fnr=num_missed / num_target,
        fpr=num_false_accepted / num_nontarget,
        num_target=num_target,
        num_nontarget=num_nontarget,
    )


def compute_eer(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Equal error rate: where the miss rate and the false-acceptance rate meet.

    The operating points of :func:`error_rates` are joined by straight lines in the (FPR, FNR)
    plane, and the EER is where that line crosses FNR = FPR. Trials that share a score move both
    rates at once and so make one slanted segment; this is the linear interpolation of the ROC
    curve. The threshold is interpolated with the same weight between the thresholds of the two
    operating points around the crossing, and is always finite. Where a point has FNR = FPR
    exactly, that point is the answer: for separable scores, EER 0 at the lowest target score.

    Args:
        scores: float ``(num_trials,)``, higher means more alike.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.

    Returns:
        The EER in [0, 1] and its threshold.

    Raises:
        EvaluationError: as :func:`error_rates`.
    """
    return error_rates(scores, labels).eer()


def compute_min_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Minimum of the normalised detection cost function (NIST speaker recognition evaluations).

    The cost ``c_miss * p_target * FNR + c_fa * (1 - p_target) * FPR`` is taken at every operating
    point, accept-all and reject-all included, and its minimum is divided by
    ``min(c_miss * p_target, c_fa * (1 - p_target))``: the cost of deciding without listening.
    The result is in [0, 1].

    Args:
        scores: float ``(num_trials,)``, higher means more alike.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        p_target: prior probability of a target trial.
        c_miss: cost of rejecting a target trial.
        c_fa: cost of accepting a non-target trial.

    Returns:
        The normalised minimum; :func:`min_dcf_point` also gives its threshold.

    Raises:
        EvaluationError: as :func:`error_rates`, or a prior or cost out of range.
    """
    return min_dcf_point(scores, labels, p_target, c_miss, c_fa).min_dcf


def min_dcf_point(
    scores: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> MinDcf:
    """The operating point of :func:`compute_min_dcf`; of equal costs the highest threshold."""
    return error_rates(scores, labels).min_dcf(p_target, c_miss, c_fa)


def best_accuracy(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Highest share of trials decided rightly by one threshold, over all thresholds.

    It follows the balance of the list: where 99 % of the trials are non-targets, rejecting every
    trial is 99 % accurate. Of equally accurate thresholds the highest is given.

    Args:
        scores: float ``(num_trials,)``, higher means more alike.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.

    Returns:
        The accuracy in [0, 1] and its threshold.

    Raises:
        EvaluationError: as :func:`error_rates`.
    """
    return error_rates(scores, labels).best_accuracy()


def _last_lowest(values: np.ndarray) -> int:
    return len(values) - 1 - int(np.argmin(values[::-1]))


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float32 or float64, labels as bool, or the sentence that says what is wrong."""
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
            f"({int(np.count_nonzero(np.isnan(score_array)))} NaN); check the embeddings."
        )
    num_target = int(np.count_nonzero(is_target))
    if num_target == 0:
        raise EvaluationError(
            "There are no target trials (label 1), so no error rate can be measured; "
            "add pairs of clips of the same speaker."
        )
    if num_target == len(is_target):
        raise EvaluationError(
            "There are no non-target trials (label 0), so no error rate can be measured; "
            "add pairs of clips of different speakers."
        )
    return score_array, is_target


def _as_column(values: ArrayLike, name: str) -> np.ndarray:
    array: np.ndarray[Any, Any] = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "buif":
        raise EvaluationError(
            f"{name} must be numbers of shape (num_trials,); "
            f"got shape {array.shape} and type {array.dtype}."
        )
    return array
