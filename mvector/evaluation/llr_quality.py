"""How good scores are as log-likelihood ratios, not only for telling two kinds apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mvector.evaluation.costs import DetectionCost
from mvector.evaluation.metrics import DetCurve, curve_from_counts, error_rates
from mvector.evaluation.score_checks import checked_trials


def cllr(llrs: ArrayLike, labels: ArrayLike) -> float:
    """Cost of log-likelihood ratios over all priors and costs, in bits.

    0 is perfect; 1 is what a ratio of 1 for every trial costs, and ratios that mislead cost more
    (Brümmer & du Preez, "Application-independent evaluation of speaker detection", 2006).

    Args:
        llrs: float ``(num_trials,)`` natural-log likelihood ratios.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`.
    """
    ratios, is_target = checked_trials(llrs, labels)
    ratios = ratios.astype(np.float64)
    missed = np.logaddexp(0.0, -ratios[is_target]).mean()
    accepted = np.logaddexp(0.0, ratios[~is_target]).mean()
    return float(0.5 * (missed + accepted) / np.log(2.0))


def cllr_of(curve: DetCurve) -> float:
    """:func:`cllr` of log-likelihood ratios whose curve is there already."""
    llrs = curve.thresholds[:-1]
    num_target, num_nontarget = np.diff(curve.num_misses), -np.diff(curve.num_false_accepts)
    missed = num_target @ np.logaddexp(0.0, -llrs) / curve.num_target
    accepted = num_nontarget @ np.logaddexp(0.0, llrs) / curve.num_nontarget
    return float(0.5 * (missed + accepted) / np.log(2.0))


def llr_curve(curve: DetCurve, slope: float, offset: float) -> DetCurve:
    """The curve of the ratios ``slope * score + offset``, of scores whose curve is there.

    Args:
        curve: of the scores.
        slope: of the ratio; where it is not positive, higher scores are rejected first.
        offset: ratio at score 0.
    """
    num_target = np.diff(curve.num_misses)
    num_trials = num_target - np.diff(curve.num_false_accepts)
    values, place = np.unique(slope * curve.thresholds[:-1] + offset, return_inverse=True)
    counts = (
        np.bincount(place, weights=each, minlength=len(values)).astype(np.int64)
        for each in (num_trials, num_target)
    )
    return curve_from_counts(values, *counts)


def min_cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """The lowest :func:`cllr` that any rising map of the scores can reach on these trials.

    What :func:`cllr` has above it is the fault of the calibration alone.

    Args:
        scores: float ``(num_trials,)``, higher means more alike.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.

    Returns:
        Bits, in [0, 1].

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`.
    """
    return min_cllr_of(error_rates(scores, labels))


def min_cllr_of(curve: DetCurve) -> float:
    """:func:`min_cllr` of scores whose curve is there already.

    Pool-adjacent-violators (Brümmer & du Preez, 2006) finds the map: trials are pooled where a
    higher score does not come with a higher share of targets, and each pool has the
    log-likelihood ratio of its shares. Equal scores are one pool from the start.
    """
    from scipy.special import rel_entr
    from sklearn.isotonic import isotonic_regression

    num_target, num_nontarget = np.diff(curve.num_misses), -np.diff(curve.num_false_accepts)
    num_trials = (num_target + num_nontarget).astype(np.float64)
    share = isotonic_regression(num_target / num_trials, sample_weight=num_trials)
    starts = np.flatnonzero(np.diff(share, prepend=-1.0))
    target = np.add.reduceat(num_target, starts) / curve.num_target
    nontarget = np.add.reduceat(num_nontarget, starts) / curve.num_nontarget
    both = target + nontarget
    gained = rel_entr(target, both) + rel_entr(nontarget, both)  # 0 log 0 is 0
    return max(0.0, float(-0.5 * gained.sum() / np.log(2.0)))


def actual_dcf(
    llrs: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Normalised cost of deciding by the log-likelihood ratio, which minDCF is the lower bound of.

    A trial is accepted from the ratio ``c_fa * (1 - p_target) / (c_miss * p_target)`` on.

    Args:
        llrs: float ``(num_trials,)`` natural-log likelihood ratios.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        p_target: prior probability of a target trial.
        c_miss: cost of rejecting a target trial.
        c_fa: cost of accepting a non-target trial.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`, or a prior or cost out of range.
    """
    threshold = DetectionCost(p_target, c_miss, c_fa).llr_threshold
    return error_rates(llrs, labels).actual_dcf(threshold, p_target, c_miss, c_fa)
