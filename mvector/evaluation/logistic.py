"""Logistic regression of scores to a natural-log likelihood ratio.

The weights have the lowest prior-weighted cross-entropy: ``p_target`` times the mean of
``log(1 + exp(-(llr + logit p_target)))`` over targets plus ``1 - p_target`` times the mean of
``log(1 + exp(llr + logit p_target))`` over non-targets, so that the balance of the trials plays no
part (Brümmer & du Preez, "Application-independent evaluation of speaker detection", 2006). There is
no penalty on the weights.

That cost has no minimum where the ratio separates the classes without an error: any steeper line is
better. Then each label is held to be wrong with the probability that such trials leave open, one in
``num_target + 2`` for targets and one in ``num_nontarget + 2`` for non-targets (Platt,
"Probabilistic outputs for support vector machines", 1999), which bounds the odds by about the
number of trials.
"""

from __future__ import annotations

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation.metrics import DetCurve

# Of more trials of a kind, Newton's method begins on about so many, evenly from all scores. From
# where that ends, two steps over all of them are enough.
_FIRST_TRIALS = 1 << 17

_MAX_STEPS = 100
_LAST_GAIN = 1e-8  # of the cost; what a further step could gain goes with the square of this


def fit_line(curve: DetCurve, *, p_target: float = 0.5) -> tuple[float, float]:
    """Offset and slope of ``llr = offset + slope * score``.

    Args:
        curve: of the scores.
        p_target: prior at which the cross-entropy is lowest; it matters where the truth is no line.

    Raises:
        EvaluationError: ``p_target`` is out of range.
    """
    values = curve.thresholds[:-1]
    counts = np.stack([-np.diff(curve.num_false_accepts), np.diff(curve.num_misses)])
    label, place = np.nonzero(counts)
    offset, slope = _fit(values[place, None], label == 1, counts[label, place], p_target)
    return float(offset), float(slope)


def fit_with_quality(
    scores: np.ndarray, is_target: np.ndarray, quality: np.ndarray, *, p_target: float = 0.5
) -> np.ndarray:
    """Weights of ``llr = weights[0] + weights[1] * score + quality @ weights[2:]``.

    Args:
        scores: float ``(num_trials,)``, finite.
        is_target: bool ``(num_trials,)``, with both kinds.
        quality: float ``(num_trials, measures)``.
        p_target: as in :func:`fit_line`.

    Returns:
        float64 ``(2 + measures,)``; a measure that never changes has weight 0.

    Raises:
        EvaluationError: ``p_target`` is out of range, or the quality does not fit the scores.
    """
    measured = np.asarray(quality, dtype=np.float64)
    if measured.ndim != 2 or len(measured) != len(scores) or not np.isfinite(measured).all():
        raise EvaluationError(
            f"Quality measures must be finite and of shape ({len(scores)}, measures); "
            f"got shape {measured.shape}."
        )
    return _fit(np.column_stack([scores, measured]), is_target, np.ones(len(scores)), p_target)


def _fit(columns: np.ndarray, label: np.ndarray, counts: np.ndarray, p_target: float) -> np.ndarray:
    """Offset, and a weight for each column, of rows that stand for ``counts`` trials each."""
    if not 0.0 < p_target < 1.0:
        raise EvaluationError(f"p_target must be between 0 and 1; got {p_target}.")
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    is_used = spread > 1e-12 * np.abs(centre)  # a constant says nothing, and is left out
    inputs = np.ones((1 + np.count_nonzero(is_used), len(label)))
    inputs[1:] = ((columns[:, is_used] - centre[is_used]) / spread[is_used]).T
    fitted = _minimise(inputs, label, counts, p_target)
    weights = np.zeros(columns.shape[1])
    weights[is_used] = fitted[1:] / spread[is_used]
    return np.concatenate([[fitted[0] - weights @ centre], weights])


def _minimise(
    inputs: np.ndarray, label: np.ndarray, counts: np.ndarray, p_target: float
) -> np.ndarray:
    """Weights of the lowest prior-weighted cross-entropy of ``inputs``, whose first row is 1."""
    shift = np.log(p_target / (1.0 - p_target))
    num_target, num_nontarget = counts[label].sum(), counts[~label].sum()
    importance = counts * np.where(label, p_target / num_target, (1.0 - p_target) / num_nontarget)
    wanted = label.astype(np.float64)
    start = np.zeros(len(inputs))
    some = _evenly_of_each_kind(label)
    if len(some) < len(label):
        near, diverges = _newton(
            start, inputs[:, some], wanted[some], importance[some], shift, label[some]
        )
        start = start if diverges else near
    weights, diverges = _newton(start, inputs, wanted, importance, shift, label)
    if diverges:
        wanted = np.where(label, 1.0 - 1.0 / (num_target + 2.0), 1.0 / (num_nontarget + 2.0))
        weights, _ = _newton(np.zeros(len(inputs)), inputs, wanted, importance, shift, None)
    return weights


def _evenly_of_each_kind(label: np.ndarray) -> np.ndarray:
    kinds = np.flatnonzero(label), np.flatnonzero(~label)
    return np.concatenate([rows[:: max(1, len(rows) // _FIRST_TRIALS)] for rows in kinds])


def _newton(
    weights: np.ndarray,
    inputs: np.ndarray,
    wanted: np.ndarray,
    importance: np.ndarray,
    shift: float,
    label: np.ndarray | None,
) -> tuple[np.ndarray, bool]:
    """Newton's method with step halving; stops, and says so, once ``label`` is separated."""

    def cost_at(weights: np.ndarray) -> tuple[float, np.ndarray]:
        log_odds = weights @ inputs + shift
        # log(1 + exp(log_odds)), several times as fast as np.logaddexp
        losses = np.log1p(np.exp(-np.abs(log_odds))) + np.maximum(log_odds, 0.0)
        return float(importance @ (losses - wanted * log_odds)), log_odds

    cost, log_odds = cost_at(weights)
    for _ in range(_MAX_STEPS):
        llr = log_odds - shift
        if label is not None and llr[label].min() >= llr[~label].max() and np.ptp(llr) > 0.0:
            return weights, True
        posterior = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))
        gradient = inputs @ (importance * (posterior - wanted))
        curvature = (inputs * (importance * posterior * (1.0 - posterior))) @ inputs.T
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        if gradient @ step <= _LAST_GAIN * cost:  # twice what the cost can still fall by
            return weights - step, False
        for _ in range(40):
            new_cost, new_log_odds = cost_at(weights - step)
            if new_cost <= cost:
                break
            step = 0.5 * step
        else:
            break
        weights, cost, log_odds = weights - step, new_cost, new_log_odds
    return weights, False
