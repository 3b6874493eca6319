"""Confidence intervals of error rates, by drawing the speakers anew.

Trials that share a speaker are not independent, so resampling trials gives intervals that are far
too narrow. Here speakers are drawn with replacement: a trial of two speakers counts as often as the
numbers of times that both were drawn, multiplied, and a trial of one speaker as often as he was
(Snijders & Borgatti, "Non-parametric standard errors and tests for network statistics", 1999).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError
from mvector.evaluation.costs import VOXCELEB, DetectionCost
from mvector.evaluation.metrics import DetCurve, error_rates

if TYPE_CHECKING:
    from scipy.sparse import csr_array

logger = logging.getLogger(__name__)

_MIN_SPEAKERS = 5  # four can be drawn in 35 ways: too few for tails of 2.5 %
_FEW_SPEAKERS = 20
_MAX_EXACT_POINTS = 16_384
_MAX_ARRAY_SIZE = 2**19  # float64 numbers in a temporary array, so that it stays in the cache


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class BootstrapIntervals:
    """What the trials say of the error rates of other speakers.

    Attributes:
        eer: equal error rate.
        min_dcf: normalised minimum detection costs, in the order of the costs.
        confidence: share of the replicates within each interval.
        num_speakers: speakers drawn from.
        num_replicates: replicates with both kinds of trials.
    """

    eer: Interval
    min_dcf: tuple[Interval, ...]
    confidence: float
    num_speakers: int
    num_replicates: int

    @property
    def draws(self) -> dict[str, float | int]:
        """What the intervals rest on, as reports tell it."""
        return {
            "confidence": self.confidence,
            "num_speakers": self.num_speakers,
            "num_replicates": self.num_replicates,
        }


def bootstrap_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    enroll_speakers: ArrayLike,
    test_speakers: ArrayLike,
    *,
    costs: Sequence[DetectionCost] = VOXCELEB,
    num_replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapIntervals:
    """Confidence intervals of EER and minDCF for the choice of speakers.

    Args:
        scores: float ``(num_trials,)``, higher means more alike.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        enroll_speakers: ``(num_trials,)`` speaker of the first side of each trial, as numbers or
            names; :func:`mvector.scoring.trial_speakers.trial_speakers` finds them.
        test_speakers: ``(num_trials,)`` speaker of the second side.
        costs: detection costs whose minimum is wanted.
        num_replicates: how often speakers are drawn.
        confidence: share of the replicates that lie within the interval.
        seed: of the draw.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`; too few speakers; speakers that
            do not fit the trials.
    """
    speaker_draws = _SpeakerDraws(enroll_speakers, test_speakers, num_replicates, seed)
    system = _CountedScores(scores, labels, speaker_draws, costs)
    return speaker_draws.intervals(system.estimates(), system.replicates(), confidence)


def bootstrap_difference(
    scores: ArrayLike,
    other_scores: ArrayLike,
    labels: ArrayLike,
    enroll_speakers: ArrayLike,
    test_speakers: ArrayLike,
    *,
    costs: Sequence[DetectionCost] = VOXCELEB,
    num_replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapIntervals:
    """Intervals of how much higher the error rates of one system are than those of another.

    Both are measured on the same trials and the same draws of speakers, so what makes some
    speakers hard for both cancels. An interval without 0 tells the systems apart.

    ``other_scores`` are of the system that is subtracted; the other arguments and the errors are
    those of :func:`bootstrap_intervals`.
    """
    speaker_draws = _SpeakerDraws(enroll_speakers, test_speakers, num_replicates, seed)
    one = _CountedScores(scores, labels, speaker_draws, costs)
    other = _CountedScores(other_scores, labels, speaker_draws, costs)
    return speaker_draws.intervals(
        one.estimates() - other.estimates(), one.replicates() - other.replicates(), confidence
    )


class _SpeakerDraws:
    """How often each speaker is drawn in each replicate, and which two each trial compares."""

    def __init__(
        self, enroll_speakers: ArrayLike, test_speakers: ArrayLike, num_replicates: int, seed: int
    ) -> None:
        enrolled, tested = np.asarray(enroll_speakers), np.asarray(test_speakers)
        if enrolled.ndim != 1 or enrolled.shape != tested.shape:
            raise EvaluationError(
                f"The speakers have shapes {enrolled.shape} and {tested.shape}; "
                "give one of each side for each trial."
            )
        names, numbers = np.unique(np.concatenate([enrolled, tested]), return_inverse=True)
        self.num_speakers = len(names)
        if self.num_speakers < 2:
            raise EvaluationError(
                "The bootstrap draws speakers, and all trials are of one; add trials of others."
            )
        if self.num_speakers < _MIN_SPEAKERS:
            raise EvaluationError(
                f"The trials are of {self.num_speakers} speakers, and an interval needs "
                f"{_MIN_SPEAKERS} or more to draw from; add trials of others."
            )
        if self.num_speakers < _FEW_SPEAKERS:
            logger.warning(
                "Only %d speakers to draw from: the intervals are likely too narrow.",
                self.num_speakers,
            )
        first, second = np.sort(numbers.reshape(2, -1), axis=0)
        pairs, self.pair = np.unique(first * self.num_speakers + second, return_inverse=True)
        self.first, self.second = np.divmod(pairs, self.num_speakers)
        shares = np.full(self.num_speakers, 1.0 / self.num_speakers)
        draws = np.random.default_rng(seed).multinomial(self.num_speakers, shares, num_replicates)
        self.draws = draws.T.astype(np.float64)  # (speakers, replicates)

    def pair_weights(self, replicates: slice) -> np.ndarray:
        """How often the trials of each pair of speakers count, ``(pairs, replicates)``."""
        draws = self.draws[:, replicates]
        weights = draws[self.first]
        is_mixed = self.first != self.second
        weights[is_mixed] *= draws[self.second[is_mixed]]
        return weights

    def intervals(
        self, estimates: np.ndarray, replicates: np.ndarray, confidence: float
    ) -> BootstrapIntervals:
        usable = replicates[:, ~np.isnan(replicates).any(axis=0)]
        if 2 * usable.shape[1] < replicates.shape[1]:
            raise EvaluationError(
                f"Of {self.num_speakers} speakers, most draws leave no target or no non-target "
                "trials; add trials of other speakers."
            )
        tail = 0.5 * (1.0 - confidence)
        lows, highs = np.quantile(usable, [tail, 1.0 - tail], axis=1)
        eer, *min_dcf = (
            Interval(float(estimate), float(low), float(high))
            for estimate, low, high in zip(estimates, lows, highs, strict=True)
        )
        return BootstrapIntervals(
            eer, tuple(min_dcf), confidence, self.num_speakers, usable.shape[1]
        )


class _CountedScores:
    """The trials of one system, counted by level of score and pair of speakers."""

    def __init__(
        self,
        scores: ArrayLike,
        labels: ArrayLike,
        speaker_draws: _SpeakerDraws,
        costs: Sequence[DetectionCost],
    ) -> None:
        self.curve = error_rates(scores, labels)
        self.speaker_draws, self.costs = speaker_draws, costs
        is_target = np.asarray(labels).astype(bool)
        if len(is_target) != len(speaker_draws.pair):
            raise EvaluationError(
                f"There are {len(is_target)} trials and speakers of {len(speaker_draws.pair)}; "
                "give one of each side for each trial."
            )
        thresholds = _thinned_thresholds(self.curve)
        level = np.searchsorted(thresholds, np.asarray(scores), side="right") - 1
        shape = (len(thresholds), len(speaker_draws.first))
        self.targets = _count_matrix(level[is_target], speaker_draws.pair[is_target], shape)
        self.nontargets = _count_matrix(level[~is_target], speaker_draws.pair[~is_target], shape)

    def estimates(self) -> np.ndarray:
        """EER and minDCFs of the trials as they are."""
        dcfs = [self.curve.min_dcf(c.p_target, c.c_miss, c.c_fa).min_dcf for c in self.costs]
        return np.array([self.curve.eer()[0], *dcfs])

    def replicates(self) -> np.ndarray:
        """EER and minDCFs, ``(figures, replicates)``; NaN where a kind of trial is missing."""
        num_replicates = self.speaker_draws.draws.shape[1]
        step = max(1, _MAX_ARRAY_SIZE // max(self.targets.shape))
        figures = [
            self._figures(self.speaker_draws.pair_weights(slice(start, start + step)))
            for start in range(0, num_replicates, step)
        ]
        return np.concatenate(figures, axis=1)

    def _figures(self, weights: np.ndarray) -> np.ndarray:
        # (levels + 1, replicates): at each threshold from accept-all to reject-all.
        misses, rejections = (
            np.zeros((self.targets.shape[0] + 1, weights.shape[1])) for _ in range(2)
        )
        np.cumsum(self.targets @ weights, axis=0, out=misses[1:])
        np.cumsum(self.nontargets @ weights, axis=0, out=rejections[1:])
        with np.errstate(invalid="ignore"):  # no trial of a kind: 0 / 0
            fnr = misses / misses[-1]
            fpr = (rejections[-1] - rejections) / rejections[-1]
        after = np.argmax(fnr >= fpr, axis=0)
        after, before = np.maximum(after, 1)[None], np.maximum(after - 1, 0)[None]
        gap = np.take_along_axis(fpr - fnr, np.vstack([before, after]), axis=0)
        ends = np.take_along_axis(fnr, np.vstack([before, after]), axis=0)
        eer = ends[0] + (ends[1] - ends[0]) * gap[0] / (gap[0] - gap[1])
        dcfs = [
            (cost.miss_weight * fnr + cost.fa_weight * fpr).min(axis=0) / cost.default
            for cost in self.costs
        ]
        return np.vstack([eer, *dcfs])


def _count_matrix(level: np.ndarray, pair: np.ndarray, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(level)), (level, pair)), shape=shape).tocsr()


def _thinned_thresholds(curve: DetCurve) -> np.ndarray:
    """Thresholds that matter: all where they are few, else some in small steps of both rates.

    The FNR moves by 0.02 % or the FPR by 0.2 % of itself from one to the next, far less than from
    replicate to replicate.
    """
    if len(curve.thresholds) <= _MAX_EXACT_POINTS:
        return curve.thresholds
    steps = 4096.0 * curve.fnr - 512.0 * np.log(np.maximum(curve.fpr, 0.5 / curve.num_nontarget))
    return curve.thresholds[np.unique(np.floor(steps), return_index=True)[1]]
