"""How a calibration is measured: on labelled trials, or on their curve."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.logistic import fit_line, fit_with_quality
from mvector.evaluation.metrics import DetCurve, error_rates
from mvector.evaluation.operating_points import PURPOSES, count_errors
from mvector.evaluation.quality import TRIAL_MEASURES

logger = logging.getLogger(__name__)

#: Share of the target trials that lie below the scores which speak for two people.
MISSES_OF_DIFFERENT = 0.05
_NUM_BASIC = 4  # measures of speech duration and SNR, which are the first


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
        quality: ``(num_trials, TRIAL_MEASURES)`` of
            :func:`mvector.evaluation.quality.trial_quality`, for ratios that know them; other
            thresholds are of the scores alone.
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
    """The same calibration with ratios that know more of the clips than their score.

    One takes all measures that are known of every trial. Others do without likeness to the user's
    own strangers, and with speech duration and SNR alone, for clips of which no more is known.

    The arguments are those of :func:`calibrate`.

    Raises:
        EvaluationError: the quality does not fit.
    """
    if np.shape(quality) != (len(np.asarray(scores)), len(TRIAL_MEASURES)):
        raise EvaluationError(
            f"Quality measures must be of shape ({len(np.asarray(scores))}, "
            f"{len(TRIAL_MEASURES)}); got {np.shape(quality)}."
        )
    known = np.flatnonzero(np.isfinite(quality).all(axis=0)).tolist()
    not_own = [column for column in known if "own strangers" not in TRIAL_MEASURES[column]]
    basic = [column for column in known if column < _NUM_BASIC]
    is_target = np.asarray(labels).astype(bool)
    ratios = tuple(
        fit_ratio(np.asarray(scores), is_target, quality, columns, p_target=p_target)
        for columns in dict.fromkeys(map(tuple, (known, not_own, basic)))
        if columns
    )
    return replace(measured, ratios=ratios)


def fit_ratio(
    scores: np.ndarray,
    is_target: np.ndarray,
    quality: np.ndarray,
    columns: Sequence[int],
    *,
    p_target: float = 0.5,
) -> LikelihoodRatio:
    """The ratio that knows some of :data:`TRIAL_MEASURES`, and what each purpose asks of it.

    Args:
        scores: float ``(num_trials,)``.
        is_target: bool ``(num_trials,)``.
        quality: ``(num_trials, TRIAL_MEASURES)``.
        columns: the measures to take, as positions.
        p_target: prior at which the ratio is fitted best.

    Raises:
        EvaluationError: a measure is not known of all trials.
    """
    taken = quality[:, list(columns)]
    weights = fit_with_quality(scores, is_target, taken, p_target=p_target)
    ends = zip(np.min(taken, axis=0).tolist(), np.max(taken, axis=0).tolist(), strict=True)
    measures = tuple(TRIAL_MEASURES[column] for column in columns)
    ratio = LikelihoodRatio(measures, tuple(weights.tolist()), tuple(ends))
    return with_limits(ratio, scores, is_target, quality)


def with_limits(
    ratio: LikelihoodRatio, scores: np.ndarray, is_target: np.ndarray, quality: np.ndarray
) -> LikelihoodRatio:
    """The same ratio, with what each purpose asks of it on these trials, as far as measurable.

    The arguments are those of :func:`fit_ratio`.
    """
    curve = error_rates(ratio.slope * scores + ratio.offset(quality), is_target)
    thresholds = {"eer": curve.eer()[1], "min_dcf": curve.min_dcf().threshold}
    for purpose, far in PURPOSES.items():
        threshold = curve.threshold_at_fpr(far) if far else None
        if threshold is not None and np.isfinite(threshold):
            thresholds[purpose] = threshold
    different = curve.at_fnr(MISSES_OF_DIFFERENT).threshold
    return replace(ratio, thresholds=thresholds, different=different)


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
        errors=count_errors(curve, {"eer": threshold_eer, "min_dcf": point.threshold, **at_far}),
        num_speakers=num_speakers,
        score_type=score_type,
        threshold_miss_5pct=curve.at_fnr(MISSES_OF_DIFFERENT).threshold,
    )
