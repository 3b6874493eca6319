"""How a calibration is measured: on labelled trials, or on their curve."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from mvector.evaluation.calibration import Calibration, inconclusive_band
from mvector.evaluation.logistic import fit_line, fit_with_quality
from mvector.evaluation.metrics import DetCurve, error_rates
from mvector.evaluation.operating_points import PURPOSES, count_errors

logger = logging.getLogger(__name__)


def calibrate(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    description: str,
    p_target: float = 0.5,
    quality: np.ndarray | None = None,
    num_speakers: int | None = None,
    score_type: str = "cosine",
) -> Calibration:
    """Measure thresholds and the log-likelihood ratio of a model's scores.

    The ratio comes from a logistic regression that knows no balance of the trials; see
    :mod:`mvector.evaluation.logistic`, also for classes that are separable.

    Args:
        scores: float ``(num_trials,)``.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        description: the trials in words, for example the name of the list.
        p_target: prior at which the ratio is fitted best.
        quality: ``(num_trials, measures)`` of :func:`mvector.evaluation.quality.trial_quality`, for
            a second ratio that knows them; thresholds and band are of the scores alone.
        num_speakers: different speakers in the trials, if known.
        score_type: what the scores are, see :class:`Calibration`.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`, or the quality does not fit.
    """
    measured = calibrate_curve(
        error_rates(scores, labels),
        description=description,
        p_target=p_target,
        num_speakers=num_speakers,
        score_type=score_type,
    )
    if quality is None:
        return measured
    return calibrate_quality(measured, scores, labels, quality, p_target=p_target)


def calibrate_quality(
    measured: Calibration,
    scores: ArrayLike,
    labels: ArrayLike,
    quality: np.ndarray,
    *,
    p_target: float = 0.5,
) -> Calibration:
    """The same calibration with a second ratio, which knows the quality of the clips.

    The arguments are those of :func:`calibrate`.

    Raises:
        EvaluationError: the quality does not fit.
    """
    is_target = np.asarray(labels).astype(bool)
    weights = fit_with_quality(np.asarray(scores), is_target, quality, p_target=p_target)
    ends = zip(np.min(quality, axis=0).tolist(), np.max(quality, axis=0).tolist(), strict=True)
    return replace(measured, quality_weights=tuple(weights.tolist()), quality_range=tuple(ends))


def calibrate_curve(
    curve: DetCurve,
    *,
    description: str,
    p_target: float = 0.5,
    num_speakers: int | None = None,
    score_type: str = "cosine",
) -> Calibration:
    """What :func:`calibrate` measures, of scores that are known by their curve.

    The other arguments are those of :func:`calibrate`.

    Raises:
        EvaluationError: ``p_target`` is out of range.
    """
    eer, threshold_eer = curve.eer()
    point = curve.min_dcf()
    accuracy, threshold_best_accuracy = curve.best_accuracy()
    at_far = {name: curve.threshold_at_fpr(far) for name, far in PURPOSES.items() if far}
    offset, slope = fit_line(curve, p_target=p_target)
    low, high = inconclusive_band(slope, offset)
    if slope <= 0:
        logger.warning(
            "Scores of the same speaker are not higher than those of different speakers (%s); "
            "the labels may be swapped, or the model untrained.",
            description,
        )
    return Calibration(
        description=description,
        num_target=curve.num_target,
        num_nontarget=curve.num_nontarget,
        eer=eer,
        threshold_eer=threshold_eer,
        min_dcf=point.min_dcf,
        threshold_min_dcf=point.threshold,
        accuracy=accuracy,
        threshold_best_accuracy=threshold_best_accuracy,
        threshold_far_1pct=at_far["far_1pct"],
        threshold_far_0_1pct=at_far["far_0_1pct"],
        threshold_far_0_01pct=at_far["far_0_01pct"],
        slope=slope,
        offset=offset,
        inconclusive_low=low,
        inconclusive_high=high,
        errors=count_errors(curve, {"eer": threshold_eer, "min_dcf": point.threshold, **at_far}),
        num_speakers=num_speakers,
        score_type=score_type,
    )
