"""Evaluation: trials, scores, error rates, calibration and their picture, from embeddings alone."""

from mvector.evaluation.calibration import Calibration, calibrate
from mvector.evaluation.metrics import (
    DetCurve,
    MinDcf,
    best_accuracy,
    compute_eer,
    compute_min_dcf,
    error_rates,
    min_dcf_point,
)
from mvector.evaluation.plots import error_curves_figure, save_error_curves
from mvector.evaluation.scoring import cosine_scores
from mvector.evaluation.trial_checks import check_trials
from mvector.evaluation.trial_lists import is_trials_file, read_trials
from mvector.evaluation.trials import AllPairs, EnrolmentModels, PairTrials, Trials, all_pairs

__all__ = [
    "AllPairs",
    "Calibration",
    "DetCurve",
    "EnrolmentModels",
    "MinDcf",
    "PairTrials",
    "Trials",
    "all_pairs",
    "best_accuracy",
    "calibrate",
    "check_trials",
    "compute_eer",
    "compute_min_dcf",
    "cosine_scores",
    "error_curves_figure",
    "error_rates",
    "is_trials_file",
    "min_dcf_point",
    "read_trials",
    "save_error_curves",
]
