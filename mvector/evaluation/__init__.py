"""Evaluation: trials, scores, error rates, calibration and their picture, from embeddings alone."""

from mvector.evaluation.bootstrap import (
    BootstrapIntervals,
    Interval,
    bootstrap_difference,
    bootstrap_intervals,
)
from mvector.evaluation.calibration import Calibration, calibrate
from mvector.evaluation.detection_costs import DetectionCost
from mvector.evaluation.llr_quality import actual_dcf, cllr, min_cllr, min_cllr_of
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
from mvector.evaluation.plots import error_curves_figure, save_error_curves
from mvector.evaluation.rate_table import RateRow, rate_table
from mvector.evaluation.scoring import cosine_scores
from mvector.evaluation.streaming import all_pairs_error_rates
from mvector.evaluation.trial_checks import check_trials
from mvector.evaluation.trial_lists import is_trials_file, read_trials
from mvector.evaluation.trial_speakers import trial_speakers
from mvector.evaluation.trials import AllPairs, EnrolmentModels, PairTrials, Trials, all_pairs

__all__ = [
    "AllPairs",
    "BootstrapIntervals",
    "Calibration",
    "CurvePoint",
    "DetCurve",
    "DetectionCost",
    "EnrolmentModels",
    "Interval",
    "MinDcf",
    "PairTrials",
    "RateRow",
    "Trials",
    "actual_dcf",
    "all_pairs",
    "all_pairs_error_rates",
    "best_accuracy",
    "bootstrap_difference",
    "bootstrap_intervals",
    "calibrate",
    "check_trials",
    "cllr",
    "compute_eer",
    "compute_min_dcf",
    "cosine_scores",
    "error_curves_figure",
    "error_rates",
    "is_trials_file",
    "min_cllr",
    "min_cllr_of",
    "min_dcf_point",
    "rate_table",
    "read_trials",
    "save_error_curves",
    "trial_speakers",
]
