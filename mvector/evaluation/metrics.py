"""Error rates of a verification system: the curve, and the figures read from it.

A trial is accepted when ``score >= threshold``. FNR (miss rate) is the share of target trials
that are rejected, FPR (false-acceptance rate) the share of non-target trials that are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mvector.evaluation.costs import DetectionCost
from mvector.evaluation.score_checks import checked_trials


@dataclass(frozen=True)
class MinDcf:
    """The lowest normalised detection cost, and the operating point that reaches it."""

    min_dcf: float
    threshold: float
    fnr: float
    fpr: float


@dataclass(frozen=True)
class CurvePoint:
    """The errors of one threshold."""

    threshold: float
    fnr: float
    fpr: float
    num_misses: int
    num_false_accepts: int


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

    @property
    def num_misses(self) -> np.ndarray:
        """Int64 ``(num_points,)``: target trials below each threshold."""
        # The rates are counts divided by totals; rounding makes the counts whole again.
        return np.rint(self.fnr * self.num_target).astype(np.int64)

    @property
    def num_false_accepts(self) -> np.ndarray:
        """Int64 ``(num_points,)``: non-target trials at or above each threshold."""
        return np.rint(self.fpr * self.num_nontarget).astype(np.int64)

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
        """Lowest normalised detection cost, of equal ones at the highest threshold.

        See :func:`compute_min_dcf`.
        """
        cost = DetectionCost(p_target, c_miss, c_fa)
        costs = cost.miss_weight * self.fnr + cost.fa_weight * self.fpr
        best = _last_lowest(costs)
        return MinDcf(
            min_dcf=float(costs[best] / cost.default),
            threshold=float(self.thresholds[best]),
            fnr=float(self.fnr[best]),
            fpr=float(self.fpr[best]),
        )

    def actual_dcf(self, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
        """Normalised cost of deciding by scores that are natural-log likelihood ratios.

        A trial is accepted from the ratio ``c_fa * (1 - p_target) / (c_miss * p_target)`` on.
        :meth:`min_dcf` is the lower bound.
        """
        cost = DetectionCost(p_target, c_miss, c_fa)
        point = self.at_threshold(cost.llr_threshold)
        return (cost.miss_weight * point.fnr + cost.fa_weight * point.fpr) / cost.default

    def best_accuracy(self) -> tuple[float, float]:
        """Highest share of trials decided rightly by one threshold, and that threshold.

        It follows the balance of the list: where 99 % of the trials are non-targets, rejecting
        every trial is 99 % accurate. Of equally accurate thresholds the highest is given.
        """
        errors = self.num_misses + self.num_false_accepts
        best = _last_lowest(errors)
        num_trials = self.num_target + self.num_nontarget
        return float((num_trials - errors[best]) / num_trials), float(self.thresholds[best])

    def area(self) -> float:
        """Area under the ROC curve: how often a target scores above a non-target, ties as half.

        The straight lines between the operating points bound it (Hanley & McNeil, "The meaning and
        use of the area under a receiver operating characteristic (ROC) curve", 1982).
        """
        return float(np.dot(-np.diff(self.fpr), 1.0 - 0.5 * (self.fnr[:-1] + self.fnr[1:])))

    def at_threshold(self, threshold: float) -> CurvePoint:
        """Errors when every score of at least ``threshold`` is accepted."""
        index = min(int(np.searchsorted(self.thresholds, threshold)), len(self.thresholds) - 1)
        return self._point(index, threshold)

    def at_fpr(self, max_fpr: float) -> CurvePoint:
        """Lowest threshold with an FPR of at most ``max_fpr``, and its miss rate (FRR@FAR)."""
        return self._point(int(np.searchsorted(-self.fpr, -max_fpr)))

    def at_fnr(self, max_fnr: float) -> CurvePoint:
        """Highest threshold with an FNR of at most ``max_fnr``, and its FPR (FAR@FRR)."""
        return self._point(int(np.searchsorted(self.fnr, max_fnr, side="right")) - 1)

    def threshold_at_fpr(self, max_fpr: float) -> float | None:
        """Lowest threshold whose measured FPR is at most ``max_fpr``.

        Returns:
            The threshold; ``None`` with fewer than ``1 / max_fpr`` non-target trials, which
            cannot tell such a rate from zero.
        """
        return None if self.num_nontarget * max_fpr < 1.0 else self.at_fpr(max_fpr).threshold

    def _point(self, index: int, threshold: float | None = None) -> CurvePoint:
        fnr, fpr = float(self.fnr[index]), float(self.fpr[index])
        return CurvePoint(
            threshold=float(self.thresholds[index] if threshold is None else threshold),
            fnr=fnr,
            fpr=fpr,
            num_misses=round(fnr * self.num_target),
            num_false_accepts=round(fpr * self.num_nontarget),
        )


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
    score_array, is_target = checked_trials(scores, labels)
    # Two value sorts run several times faster than one argsort and the gather behind it.
    return curve_from_counts(*count_distinct(np.sort(score_array), np.sort(score_array[is_target])))


def count_distinct(
    ordered: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each distinct score once, with the trials and the target trials that have it.

    Both ascend, and so do the distinct scores: ``ordered (num_trials,)`` scores of all trials,
    ``targets (num_target,)`` of the target trials among them.
    """
    is_first = np.empty(len(ordered), dtype=bool)
    is_first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    distinct = ordered[is_first]
    num_trials = np.diff(np.flatnonzero(is_first), append=len(ordered))
    num_target = np.bincount(np.searchsorted(distinct, targets), minlength=len(distinct))
    return distinct, num_trials, num_target


def curve_from_counts(
    distinct: np.ndarray, num_trials: np.ndarray, num_target: np.ndarray
) -> DetCurve:
    """The curve of scores that :func:`count_distinct` counted."""
    num_missed, num_rejected = (np.zeros(len(distinct) + 1, dtype=np.int64) for _ in range(2))
    np.cumsum(num_target, out=num_missed[1:])
    np.cumsum(num_trials, out=num_rejected[1:])
    num_rejected -= num_missed  # of the non-target trials
    targets, nontargets = int(num_missed[-1]), int(num_rejected[-1])
    reject_all = np.nextafter(distinct[-1], np.inf, dtype=distinct.dtype)
    return DetCurve(
        thresholds=np.append(distinct, reject_all).astype(np.float64),
        fnr=num_missed / targets,
        fpr=(nontargets - num_rejected) / nontargets,
        num_target=targets,
        num_nontarget=nontargets,
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

    :meth:`DetCurve.min_dcf` also gives its threshold.

    Args:
        scores: float ``(num_trials,)``, higher means more alike.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        p_target: prior probability of a target trial.
        c_miss: cost of rejecting a target trial.
        c_fa: cost of accepting a non-target trial.

    Raises:
        EvaluationError: as :func:`error_rates`, or a prior or cost out of range.
    """
    return error_rates(scores, labels).min_dcf(p_target, c_miss, c_fa).min_dcf


def _last_lowest(values: np.ndarray) -> int:
    return len(values) - 1 - int(np.argmin(values[::-1]))
