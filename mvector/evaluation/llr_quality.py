"""How good scores are as log-likelihood ratios, not only for telling two kinds apart."""

from __future__ import annotations

import numpy as np

from mvector.evaluation.metrics import DetCurve, curve_from_counts


def cllr(curve: DetCurve) -> float:
    """Cost of natural-log likelihood ratios over all priors and costs, in bits.

    0 is perfect; 1 is what a ratio of 1 for every trial costs, and ratios that mislead cost more
    (Brümmer & du Preez, "Application-independent evaluation of speaker detection", 2006).

    Args:
        curve: of the ratios, from :func:`mvector.evaluation.error_rates`.
    """
    llrs = curve.thresholds[:-1]
    num_target, num_nontarget = np.diff(curve.num_misses), -np.diff(curve.num_false_accepts)
    missed = num_target @ np.logaddexp(0.0, -llrs) / curve.num_target
    accepted = num_nontarget @ np.logaddexp(0.0, llrs) / curve.num_nontarget
    return float(0.5 * (missed + accepted) / np.log(2.0))


def min_cllr(curve: DetCurve) -> float:
    """The lowest :func:`cllr` that any rising map of the scores can reach on these trials.

    What :func:`cllr` has above it is the fault of the calibration alone. Pool-adjacent-violators
    (Brümmer & du Preez, 2006) finds the map: trials are pooled where a higher score does not come
    with a higher share of targets, and each pool has the log-likelihood ratio of its shares. Equal
    scores are one pool from the start.

    Args:
        curve: of scores of any kind, higher meaning more alike.

    Returns:
        Bits, in [0, 1].
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


def llr_curve(curve: DetCurve, slope: float, offset: float) -> DetCurve:
    """The curve of the ratios ``slope * score + offset``, from that of the scores.

    Where the slope is not positive, higher scores are rejected first.
    """
    num_target = np.diff(curve.num_misses)
    num_trials = num_target - np.diff(curve.num_false_accepts)
    values, place = np.unique(slope * curve.thresholds[:-1] + offset, return_inverse=True)
    counts = (
        np.bincount(place, weights=each, minlength=len(values)).astype(np.int64)
        for each in (num_trials, num_target)
    )
    return curve_from_counts(values, *counts)
