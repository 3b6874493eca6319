"""Does a calibration hold for people it has not seen?

A threshold looks good on the trials it was chosen on. Here the speakers are split in halves: one
half calibrates, and the error rates of its threshold and ratio are measured on the other.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation.calibration_fit import calibrate
from mvector.evaluation.llr_quality import cllr, min_cllr
from mvector.evaluation.metrics import error_rates

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOutCheck:
    """A calibration by one half of the speakers, measured on the other half.

    Attributes:
        num_speakers: whose trials it was measured on.
        num_target: their target trials.
        num_nontarget: their non-target trials.
        threshold: at the equal error rate of the first half.
        num_misses: target trials of the second half below that threshold.
        num_false_accepts: its non-target trials at or above it.
        cllr: cost of the log-likelihood ratios there, in bits; 1 for a system that knows nothing.
        min_cllr: the same after the best monotonic map of those very scores; what lies between is
            lost by calibration.
        p_target: prior of the detection costs, with unit costs of errors.
        actual_dcf: normalised detection cost of deciding by the log-likelihood ratio.
        min_dcf: the same with the best threshold for those very scores.
    """

    num_speakers: int
    num_target: int
    num_nontarget: int
    threshold: float
    num_misses: int
    num_false_accepts: int
    cllr: float
    min_cllr: float
    p_target: float
    actual_dcf: float
    min_dcf: float


def held_out_check(
    scores: np.ndarray,
    labels: np.ndarray,
    speakers: tuple[np.ndarray, np.ndarray],
    *,
    seed: int = 0,
    p_target: float = 0.01,
    quality: np.ndarray | None = None,
) -> HeldOutCheck:
    """Calibrate on half of the speakers and measure on the other half.

    Trials of a speaker of one half with one of the other are left out.

    Args:
        scores: float ``(num_trials,)``.
        labels: bool ``(num_trials,)``, True for the same speaker.
        speakers: the speaker of each side of each trial, twice ``(num_trials,)``; for example from
            :func:`mvector.scoring.trial_speakers.trial_speakers`.
        seed: decides the halves.
        p_target: prior of the detection costs.
        quality: ``(num_trials, TRIAL_MEASURES)``, for ratios that know them.

    Raises:
        EvaluationError: a half has no target or no non-target trial.
    """
    is_target = np.asarray(labels).astype(bool)
    names, numbers = np.unique(np.concatenate(speakers), return_inverse=True)
    one, other = np.split(numbers, 2)
    in_first = first_half(one, is_target, len(names), seed)
    sides = in_first[one], in_first[other]
    calibrating, measuring = sides[0] & sides[1], ~(sides[0] | sides[1])
    for half in (calibrating, measuring):
        if not is_target[half].any() or is_target[half].all():
            raise EvaluationError(
                "Half of the speakers give no target or no non-target trials, so a calibration "
                "cannot be checked on speakers it has not seen; add speakers with several clips."
            )
    first = calibrate(
        scores[calibrating],
        is_target[calibrating],
        description="half of the speakers",
        quality=None if quality is None else quality[calibrating],
    )
    held_scores, held = scores[measuring], is_target[measuring]
    llrs = first.llr(held_scores, None if quality is None else quality[measuring])
    curve, of_llrs = error_rates(held_scores, held), error_rates(llrs, held)
    at_threshold = curve.at_threshold(first.threshold_eer)
    return HeldOutCheck(
        num_speakers=len(np.union1d(one[measuring], other[measuring])),
        num_target=curve.num_target,
        num_nontarget=curve.num_nontarget,
        threshold=first.threshold_eer,
        num_misses=at_threshold.num_misses,
        num_false_accepts=at_threshold.num_false_accepts,
        cllr=cllr(of_llrs),
        min_cllr=min_cllr(of_llrs),
        p_target=p_target,
        actual_dcf=of_llrs.actual_dcf(p_target),
        min_dcf=of_llrs.min_dcf(p_target).min_dcf,
    )


def held_out_check_if_possible(
    scores: np.ndarray,
    labels: np.ndarray,
    speakers: tuple[np.ndarray, np.ndarray],
    quality: np.ndarray | None,
) -> HeldOutCheck | None:
    """:func:`held_out_check`, or ``None`` where there are too few speakers for it."""
    try:
        return held_out_check(scores, labels, speakers, quality=quality)
    except EvaluationError as error:
        logger.info("No held-out check: %s", error)
        return None


def first_half(
    speakers: np.ndarray, is_target: np.ndarray, num_speakers: int, seed: int
) -> np.ndarray:
    """Whether each speaker is in the first half: bool ``(num_speakers,)``.

    Speakers with target trials are shared evenly.

    Args:
        speakers: of one side of each trial, integers ``(num_trials,)``.
        is_target: bool ``(num_trials,)``.
        num_speakers: all of them.
        seed: decides the halves.
    """
    order = np.random.default_rng(seed).permutation(num_speakers)
    has_targets = np.bincount(speakers[is_target], minlength=num_speakers) > 0
    dealt = np.concatenate([order[has_targets[order]], order[~has_targets[order]]])
    in_first = np.zeros(num_speakers, dtype=bool)
    in_first[dealt[::2]] = True
    return in_first
