"""Evaluation: what scores are worth: error rates, calibration, and their picture.

The names below load on first use: to judge two clips takes few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "Calibration": "mvector.evaluation.calibration",
        "DetCurve": "mvector.evaluation.metrics",
        "bootstrap_difference": "mvector.evaluation.bootstrap",
        "bootstrap_intervals": "mvector.evaluation.bootstrap",
        "calibrate": "mvector.evaluation.calibration_fit",
        "compute_eer": "mvector.evaluation.metrics",
        "compute_min_dcf": "mvector.evaluation.metrics",
        "error_rates": "mvector.evaluation.metrics",
        "held_out_check": "mvector.evaluation.held_out",
        "save_error_curves": "mvector.evaluation.plots",
    },
)
