"""Thresholds for several purposes, each with the errors that it was measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvector.evaluation.metrics import DetCurve

# With 30 errors the true rate lies within 30 % of the measured one, with a confidence of 90 %, if
# trials are independent (Doddington et al., "The NIST speaker recognition evaluation", 2000).
RULE_OF_30 = 30

#: Purposes that a threshold is measured for, and the false-acceptance rate of those that set one.
PURPOSES: dict[str, float | None] = {
    "eer": None,
    "min_dcf": None,
    "far_1pct": 0.01,
    "far_0_1pct": 0.001,
    "far_0_01pct": 0.0001,
}

#: What each threshold is for, in words.
PURPOSE_WORDS = {
    "eer": "both errors equally often",
    "min_dcf": "1 in 100 who come is the person claimed",
    "far_1pct": "1 of 100 strangers accepted",
    "far_0_1pct": "1 of 1,000 strangers accepted",
    "far_0_01pct": "1 of 10,000 strangers accepted",
}


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of one threshold on the trials it was measured on.

    Attributes:
        num_misses: target trials below it.
        num_false_accepts: non-target trials at or above it.
    """

    num_misses: int
    num_false_accepts: int


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, its error rates and what supports them.

    Attributes:
        purpose: a key of :data:`PURPOSES`.
        threshold: ``None`` where there are too few non-target trials to set one.
        errors: counted there; ``None`` where that is not known.
        num_target: target trials.
        num_nontarget: non-target trials.
    """

    purpose: str
    threshold: float | None
    errors: ErrorCounts | None
    num_target: int
    num_nontarget: int

    @property
    def fnr(self) -> float | None:
        """Miss rate."""
        return None if self.errors is None else self.errors.num_misses / self.num_target

    @property
    def fpr(self) -> float | None:
        """False-acceptance rate."""
        return None if self.errors is None else self.errors.num_false_accepts / self.num_nontarget

    @property
    def doubt(self) -> str | None:
        """What speaks against relying on it, by the rule of 30; ``None`` if nothing is known to."""
        far = PURPOSES[self.purpose]
        if self.threshold is None:
            least = round(1.0 / far) if far else 1
            return (
                f"cannot be measured with {self.num_nontarget:,} non-target trials: it takes "
                f"{least:,} to see one error, and {RULE_OF_30 * least:,} to rely on it"
            )
        if self.errors is None:
            return None
        missed, accepted = self.errors.num_misses, self.errors.num_false_accepts
        if far is not None:
            if self.num_nontarget * far < RULE_OF_30:
                return (
                    f"rests on {accepted} false acceptances; {RULE_OF_30} take about "
                    f"{round(RULE_OF_30 / far):,} non-target trials, and there are "
                    f"{self.num_nontarget:,}"
                )
            return None
        if min(missed, accepted) < RULE_OF_30:
            return (
                f"rests on {missed:,} misses and {accepted:,} false acceptances, not {RULE_OF_30}"
            )
        return None


def count_errors(curve: DetCurve, thresholds: Mapping[str, float | None]) -> dict[str, ErrorCounts]:
    """Errors at each threshold that is set, by purpose."""
    counts = {}
    for purpose, threshold in thresholds.items():
        if threshold is not None:
            point = curve.at_threshold(threshold)
            counts[purpose] = ErrorCounts(point.num_misses, point.num_false_accepts)
    return counts
