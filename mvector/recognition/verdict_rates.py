"""How often verdicts are wrong, or tell nothing: the rule of :class:`Judge` on labelled trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mvector.evaluation.quality import pair_quality
from mvector.recognition.judge import Judge
from mvector.scoring.trials import Trials

_TRIALS_AT_ONCE = 1 << 18  # arrays of a block take some 40 MB


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on the trials of one kind: target or non-target.

    Attributes:
        num_trials: all of them.
        num_errors: wrong answers: targets told to be different, or non-targets to be the same.
        num_inconclusive: those that cannot be told, which are no errors.
    """

    num_trials: int
    num_errors: int
    num_inconclusive: int

    def to_dict(self) -> dict[str, Any]:
        """Counts and rates, ready for JSON; a rate of no trials is ``None``."""
        num_conclusive = self.num_trials - self.num_inconclusive
        return {
            **self.__dict__,
            "error_rate": _share(self.num_errors, self.num_trials),
            "inconclusive_share": _share(self.num_inconclusive, self.num_trials),
            "num_conclusive_errors": self.num_errors,
            "conclusive_error_rate": _share(self.num_errors, num_conclusive),
        }


@dataclass(frozen=True)
class VerdictRates:
    """Verdicts on trials.

    Attributes:
        target: trials of one speaker; their error rate is the false-rejection rate (FRR).
        nontarget: trials of two; theirs is the false-acceptance rate (FAR).
        purpose: what they are for, see :class:`Judge`.
        threshold_source: where the thresholds come from, in few words.
        calibrated_on: the trials behind the calibration, in words; ``None`` without calibration.
    """

    target: Verdicts
    nontarget: Verdicts
    purpose: str
    threshold_source: str
    calibrated_on: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        num_trials = self.target.num_trials + self.nontarget.num_trials
        num_inconclusive = self.target.num_inconclusive + self.nontarget.num_inconclusive
        return {
            "target": self.target.to_dict(),
            "nontarget": self.nontarget.to_dict(),
            "inconclusive_share": _share(num_inconclusive, num_trials),
            "purpose": self.purpose,
            "threshold_source": self.threshold_source,
            "calibrated_on": self.calibrated_on,
        }


def verdict_rates(
    judge: Judge,
    scores: np.ndarray,
    trials: Trials,
    quality: tuple[np.ndarray, np.ndarray] | None = None,
) -> VerdictRates:
    """Count the verdicts that :meth:`Judge.decide` gives, block by block.

    Args:
        judge: of the model.
        scores: cosines ``(trials,)`` in the order of ``trials.labels``.
        trials: which clips, or enrolment models and clips, were compared.
        quality: of each of ``trials.enroll_paths`` ``(E, SIDE_MEASURES)`` and of
            ``trials.test_paths`` ``(T, SIDE_MEASURES)``, as
            :func:`mvector.evaluation.run.measure_trials` gives it; ``None`` where it is not known.

    Raises:
        MVectorError: there is no threshold.
    """
    counts = np.zeros((2, 3), dtype=np.int64)  # non-targets and targets, and what is counted
    for start in range(0, len(trials), _TRIALS_AT_ONCE):
        stop = min(start + _TRIALS_AT_ONCE, len(trials))
        measures = least_speech_s = None
        if quality is not None:
            enroll_index, test_index = trials.indices(start, stop)
            one, other = quality[0][enroll_index], quality[1][test_index]
            measures = pair_quality(one, other)
            least_speech_s = np.minimum(one[:, 0], other[:, 0])
        counts += count_verdicts(
            judge, scores[start:stop], trials.labels[start:stop], measures, least_speech_s
        )
    is_adjusted = quality is not None and judge.uses_quality
    known = judge.calibration
    return VerdictRates(
        Verdicts(*counts[1].tolist()),
        Verdicts(*counts[0].tolist()),
        judge.purpose,
        judge.threshold_source(is_adjusted=is_adjusted),
        None if known is None else known.description,
    )


def count_verdicts(
    judge: Judge,
    scores: np.ndarray,
    is_target: np.ndarray,
    measures: np.ndarray | None,
    least_speech_s: np.ndarray | None,
) -> np.ndarray:
    """Verdicts on N trials whose measures are those of :meth:`Judge.limits`.

    Returns:
        int64 ``(2, 3)``: of non-target and of target trials, how many there are, are wrong, and
        cannot be told.

    Raises:
        MVectorError: there is no threshold.
    """
    threshold, low, high = judge.limits(measures, least_speech_s=least_speech_s)
    score = scores.astype(np.float64)
    is_unclear = (low <= score) & (score <= high)
    is_wrong = ((score >= threshold) != is_target) & ~is_unclear
    outcomes = np.stack([np.ones_like(is_wrong), is_wrong, is_unclear])
    return np.stack([outcomes[:, is_target == kind].sum(axis=1) for kind in (False, True)])


def _share(count: int, num_trials: int) -> float | None:
    return count / num_trials if num_trials else None
