"""All figures of an evaluation as plain values: the most of ``results.json``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation import (
    BootstrapIntervals,
    Calibration,
    DetCurve,
    DetectionCost,
    Interval,
    bootstrap_intervals,
    cllr,
    error_rates,
    held_out_check,
    min_cllr_of,
    rate_table,
)
from mvector.evaluation.detection_costs import (
    NIST_SRE08,
    NIST_SRE10,
    NIST_SRE12,
    NIST_SRE16,
    VOXCELEB,
)
from mvector.reports.scored import ScoredTrials

logger = logging.getLogger(__name__)

#: Detection costs by the evaluations that are published with them.
EVALUATIONS: dict[str, tuple[DetectionCost, ...]] = {
    "VoxCeleb": VOXCELEB,
    "NIST SRE08": NIST_SRE08,
    "NIST SRE10": NIST_SRE10,
    "NIST SRE12": NIST_SRE12,
    "NIST SRE16": NIST_SRE16,
}
#: Each of them once.
COSTS = tuple(dict.fromkeys(cost for costs in EVALUATIONS.values() for cost in costs))

_MAX_REPLICATES, _MIN_REPLICATES = 1000, 300
_FULL_TRIALS = 200_000  # up to so many trials all replicates are drawn
_MAX_BOOTSTRAP_TRIALS = 30_000_000


def build_results(
    scored: ScoredTrials,
    calibration: Calibration,
    *,
    earlier: Calibration | None = None,
    num_replicates: int | None = None,
) -> dict[str, Any]:
    """Measure everything that is reported of scored trials as a whole.

    Args:
        scored: the trials.
        calibration: of these trials.
        earlier: one measured on other trials, to see how well it does on these.
        num_replicates: how often the bootstrap draws the speakers; 0 gives no intervals, ``None``
            between 1000 and 300, the fewer the more trials there are.
    """
    curve = error_rates(scored.scores, scored.labels)
    speakers = scored.trial_speakers
    intervals, why_none = _intervals(scored, speakers, num_replicates)
    eer, threshold = curve.eer()
    at_eer = curve.at_threshold(threshold)
    accuracy, best_threshold = curve.best_accuracy()
    llrs = np.asarray(calibration.llr(scored.scores))
    llr_curve = error_rates(llrs, scored.labels)
    return {
        "num_target": curve.num_target,
        "num_nontarget": curve.num_nontarget,
        "num_speakers": len(np.unique(np.concatenate(speakers))),
        "eer": {
            **_value(eer, intervals.eer if intervals else None),
            "threshold": threshold,
            "num_misses": at_eer.num_misses,
            "num_false_accepts": at_eer.num_false_accepts,
        },
        "detection_costs": _detection_costs(curve, llr_curve, intervals),
        "evaluations": _evaluations(curve, llr_curve),
        "rates": [asdict(row) for row in rate_table(curve)],
        "best_accuracy": {"value": accuracy, "threshold": best_threshold},
        "area_under_roc": curve.area(),
        "cllr": {"value": cllr(llrs, scored.labels), "min": min_cllr_of(curve)},
        "held_out": _held_out(scored, speakers),
        "earlier_calibration": None if earlier is None else _measured_by(earlier, scored),
        "bootstrap": {"why_none": why_none}
        if intervals is None
        else {
            "confidence": intervals.confidence,
            "num_speakers": intervals.num_speakers,
            "num_replicates": intervals.num_replicates,
        },
        "operating_points": [
            {
                "purpose": point.purpose,
                "threshold": point.threshold,
                "fnr": point.fnr,
                "fpr": point.fpr,
                "num_misses": point.errors.num_misses if point.errors else None,
                "num_false_accepts": point.errors.num_false_accepts if point.errors else None,
                "doubt": point.doubt,
            }
            for point in calibration.operating_points()
        ],
        "calibration": calibration.to_dict(),
    }


def _value(value: float, interval: Interval | None) -> dict[str, float | None]:
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {"value": value, "low": low, "high": high}


def _intervals(
    scored: ScoredTrials, speakers: tuple[np.ndarray, np.ndarray], num_replicates: int | None
) -> tuple[BootstrapIntervals | None, str | None]:
    num_trials = len(scored.scores)
    if num_replicates == 0:
        return None, "not asked for"
    if num_replicates is None:
        if num_trials > _MAX_BOOTSTRAP_TRIALS:
            return None, f"{num_trials:,} trials take long; ask for replicates with --bootstrap"
        share = min(1.0, _FULL_TRIALS / num_trials)
        num_replicates = max(_MIN_REPLICATES, round(_MAX_REPLICATES * share))
    try:
        return bootstrap_intervals(
            scored.scores, scored.labels, *speakers, costs=COSTS, num_replicates=num_replicates
        ), None
    except EvaluationError as error:
        return None, str(error)


def _detection_costs(
    curve: DetCurve, llr_curve: DetCurve, intervals: BootstrapIntervals | None
) -> list[dict[str, Any]]:
    rows = []
    for place, cost in enumerate(COSTS):
        parameters = asdict(cost)
        point = curve.min_dcf(**parameters)
        at_point = curve.at_threshold(point.threshold)
        rows.append(
            {
                **parameters,
                "evaluations": [name for name, costs in EVALUATIONS.items() if cost in costs],
                **_value(point.min_dcf, intervals.min_dcf[place] if intervals else None),
                "threshold": point.threshold,
                "num_misses": at_point.num_misses,
                "num_false_accepts": at_point.num_false_accepts,
                "actual_dcf": llr_curve.actual_dcf(cost.llr_threshold, **parameters),
                "llr_threshold": cost.llr_threshold,
            }
        )
    return rows


def _evaluations(curve: DetCurve, llr_curve: DetCurve) -> list[dict[str, Any]]:
    """Primary metrics of evaluations: the mean over their costs."""
    return [
        {
            "name": name,
            "num_costs": len(costs),
            "value": float(np.mean([curve.min_dcf(**asdict(cost)).min_dcf for cost in costs])),
            "actual_dcf": float(
                np.mean(
                    [llr_curve.actual_dcf(cost.llr_threshold, **asdict(cost)) for cost in costs]
                )
            ),
        }
        for name, costs in EVALUATIONS.items()
        if name.startswith("NIST")
    ]


def _held_out(
    scored: ScoredTrials, speakers: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any] | None:
    try:
        return held_out_check(scored.scores, scored.labels, speakers).to_dict()
    except EvaluationError as error:
        logger.info("No held-out check: %s", error)
        return None


def _measured_by(calibration: Calibration, scored: ScoredTrials) -> dict[str, Any]:
    """How well a calibration from elsewhere does on these trials."""
    llrs = np.asarray(calibration.llr(scored.scores))
    cost = DetectionCost()
    errors = error_rates(scored.scores, scored.labels).at_threshold(calibration.threshold_eer)
    return {
        "description": calibration.description,
        "cllr": cllr(llrs, scored.labels),
        "p_target": cost.p_target,
        "actual_dcf": error_rates(llrs, scored.labels).actual_dcf(
            cost.llr_threshold, **asdict(cost)
        ),
        "threshold": calibration.threshold_eer,
        "fnr": errors.fnr,
        "fpr": errors.fpr,
        "num_misses": errors.num_misses,
        "num_false_accepts": errors.num_false_accepts,
    }
