"""All figures of an evaluation as plain values: the most of ``results.json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation.bootstrap import BootstrapIntervals, Interval, bootstrap_intervals
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.costs import COSTS, EVALUATIONS, DetectionCost
from mvector.evaluation.held_out import held_out_check_if_possible
from mvector.evaluation.llr_quality import cllr, llr_curve, min_cllr
from mvector.evaluation.metrics import DetCurve, error_rates
from mvector.evaluation.rate_table import rate_table
from mvector.evaluation.reports.scored import ScoredTrials

_MAX_REPLICATES, _MIN_REPLICATES = 1000, 300
_FULL_TRIALS = 200_000  # up to so many trials all replicates are drawn
_MAX_BOOTSTRAP_TRIALS = 30_000_000


def build_results(
    curve: DetCurve,
    calibration: Calibration,
    *,
    scored: ScoredTrials | None = None,
    quality: np.ndarray | None = None,
    earlier: Calibration | None = None,
    num_replicates: int | None = None,
) -> dict[str, Any]:
    """Measure everything that is reported of scored trials as a whole.

    Rates are fractions of 1, but for ``eer_percent``.

    Args:
        curve: of the trials, like the calibration.
        calibration: its thresholds and ratio are reported.
        scored: the trials, for intervals and the check on held-out speakers; ``None`` where they
            are too many to keep their scores.
        quality: ``(num_trials, measures)``, if the calibration knows it.
        earlier: one measured on other trials, to see how well it does on these.
        num_replicates: how often the bootstrap draws the speakers; 0 gives no intervals, ``None``
            between 1000 and 300, the fewer the more trials there are.
    """
    intervals, why_none = _intervals(scored, num_replicates)
    eer, threshold = curve.eer()
    at_eer = curve.at_threshold(threshold)
    accuracy, best_threshold = curve.best_accuracy()
    llrs = llr_curve(curve, calibration.slope, calibration.offset)
    eer_interval = with_interval(eer, intervals.eer if intervals else None)
    return {
        "num_target": curve.num_target,
        "num_nontarget": curve.num_nontarget,
        "num_speakers": calibration.num_speakers if scored is None else scored.num_speakers,
        "eer": {
            **eer_interval,
            "threshold": threshold,
            "num_misses": at_eer.num_misses,
            "num_false_accepts": at_eer.num_false_accepts,
        },
        "eer_percent": {key: _percent(value) for key, value in eer_interval.items()},
        "detection_costs": _detection_costs(curve, llrs, intervals),
        "evaluations": _evaluations(curve, llrs),
        "rates": [asdict(row) for row in rate_table(curve)],
        "best_accuracy": {"value": accuracy, "threshold": best_threshold},
        "area_under_roc": curve.area(),
        "cllr": {"value": cllr(llrs), "min": min_cllr(curve)},
        "held_out": _held_out(scored, None),
        "quality": _quality_figures(scored, calibration, quality),
        "earlier_calibration": None if earlier is None else _earlier_figures(earlier, curve),
        "bootstrap": {"why_none": why_none} if intervals is None else intervals.draws,
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
        "inconclusive_scores": calibration.inconclusive_scores,
        "calibration": calibration.to_dict(),
    }


def with_interval(value: float, interval: Interval | None) -> dict[str, float | None]:
    """A figure as ``results.json`` has it; without an interval its ends are ``None``."""
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {"value": value, "low": low, "high": high}


def _percent(rate: float | None) -> float | None:
    return None if rate is None else 100.0 * rate


def _intervals(
    scored: ScoredTrials | None, num_replicates: int | None
) -> tuple[BootstrapIntervals | None, str | None]:
    if scored is None:
        return None, "the trials are too many to keep their scores"
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
            scored.scores,
            scored.labels,
            *scored.trial_speakers,
            costs=COSTS,
            num_replicates=num_replicates,
        ), None
    except EvaluationError as error:
        return None, str(error)


def _detection_costs(
    curve: DetCurve, llrs: DetCurve, intervals: BootstrapIntervals | None
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
                **with_interval(point.min_dcf, intervals.min_dcf[place] if intervals else None),
                "threshold": point.threshold,
                "num_misses": at_point.num_misses,
                "num_false_accepts": at_point.num_false_accepts,
                "actual_dcf": llrs.actual_dcf(**parameters),
                "llr_threshold": cost.llr_threshold,
            }
        )
    return rows


def _evaluations(curve: DetCurve, llrs: DetCurve) -> list[dict[str, Any]]:
    """Primary metrics of evaluations: the mean over their costs."""
    return [
        {
            "name": name,
            "num_costs": len(costs),
            "value": float(np.mean([curve.min_dcf(**asdict(cost)).min_dcf for cost in costs])),
            "actual_dcf": float(np.mean([llrs.actual_dcf(**asdict(cost)) for cost in costs])),
        }
        for name, costs in EVALUATIONS.items()
        if name.startswith("NIST")
    ]


def _held_out(scored: ScoredTrials | None, quality: np.ndarray | None) -> dict[str, Any] | None:
    if scored is None:
        return None
    check = held_out_check_if_possible(scored.scores, scored.labels, scored.trial_speakers, quality)
    return None if check is None else asdict(check)


def _quality_figures(
    scored: ScoredTrials | None, calibration: Calibration, quality: np.ndarray | None
) -> dict[str, Any] | None:
    """What ratios that know the quality of the clips cost."""
    if scored is None or quality is None:
        return None
    llrs = np.asarray(calibration.llr(scored.scores, quality))
    best = calibration.ratios[0] if calibration.ratios else None
    return {
        "measures": list(best.measures) if best else [],
        "weights": list(best.weights) if best else [],
        "cllr": cllr(error_rates(llrs, scored.labels)),
        "held_out": _held_out(scored, quality),
    }


def _earlier_figures(calibration: Calibration, curve: DetCurve) -> dict[str, Any]:
    """How well a calibration from elsewhere does on these trials."""
    llrs = llr_curve(curve, calibration.slope, calibration.offset)
    cost = DetectionCost()
    errors = curve.at_threshold(calibration.threshold_eer)
    return {
        "description": calibration.description,
        "cllr": cllr(llrs),
        "p_target": cost.p_target,
        "actual_dcf": llrs.actual_dcf(**asdict(cost)),
        "threshold": calibration.threshold_eer,
        "fnr": errors.fnr,
        "fpr": errors.fpr,
        "num_misses": errors.num_misses,
        "num_false_accepts": errors.num_false_accepts,
    }
