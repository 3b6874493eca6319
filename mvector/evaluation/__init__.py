"""Evaluation: what scores are worth: error rates, calibration, and their picture."""

from mvector.evaluation.bootstrap import (
    BootstrapIntervals,
    Interval,
    bootstrap_difference,
    bootstrap_intervals,
)
from mvector.evaluation.calibration import (
    Calibration,
    calibrate,
    calibrate_curve,
    calibrate_quality,
)
from mvector.evaluation.costs import (
    DetectionCost,
)
from mvector.evaluation.held_out import (
    HeldOutCheck,
    held_out_check,
)
from mvector.evaluation.llr_quality import (
    actual_dcf,
    cllr,
    cllr_of,
    llr_curve,
    min_cllr,
    min_cllr_of,
)
from mvector.evaluation.metrics import (
    CurvePoint,
    DetCurve,
    MinDcf,
    best_accuracy,
    compute_eer,
    compute_min_dcf,
    error_rates,
    min_dcf_point,
)
from mvector.evaluation.operating_points import (
    ErrorCounts,
    OperatingPoint,
)
from mvector.evaluation.plots import (
    error_curves_figure,
    save_error_curves,
)
from mvector.evaluation.quality import (
    clip_measures,
    model_quality,
    trial_quality,
)
from mvector.evaluation.rate_table import (
    RateRow,
    rate_table,
)
from mvector.evaluation.streaming import (
    all_pairs_error_rates,
)

__all__ = [
    "BootstrapIntervals",
    "Calibration",
    "CurvePoint",
    "DetCurve",
    "DetectionCost",
    "ErrorCounts",
    "HeldOutCheck",
    "Interval",
    "MinDcf",
    "OperatingPoint",
    "RateRow",
    "actual_dcf",
    "all_pairs_error_rates",
    "best_accuracy",
    "bootstrap_difference",
    "bootstrap_intervals",
    "calibrate",
    "calibrate_curve",
    "calibrate_quality",
    "clip_measures",
    "cllr",
    "cllr_of",
    "compute_eer",
    "compute_min_dcf",
    "error_curves_figure",
    "error_rates",
    "held_out_check",
    "llr_curve",
    "min_cllr",
    "min_cllr_of",
    "min_dcf_point",
    "model_quality",
    "rate_table",
    "save_error_curves",
    "trial_quality",
]
