"""Evaluation: what scores are worth: error rates, calibration, and their picture."""

from mvector.evaluation.bootstrap import bootstrap_difference, bootstrap_intervals
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.calibration_fit import calibrate
from mvector.evaluation.held_out import held_out_check
from mvector.evaluation.metrics import DetCurve, compute_eer, compute_min_dcf, error_rates
from mvector.evaluation.plots import save_error_curves

__all__ = [
    "Calibration",
    "DetCurve",
    "bootstrap_difference",
    "bootstrap_intervals",
    "calibrate",
    "compute_eer",
    "compute_min_dcf",
    "error_rates",
    "held_out_check",
    "save_error_curves",
]
