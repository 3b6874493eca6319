"""Evaluation: trials, scores, error rates, calibration and their picture, from embeddings alone."""

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
from mvector.evaluation.cohort import Cohort, CohortStatistics, cohort_statistics
from mvector.evaluation.detection_costs import DetectionCost
from mvector.evaluation.held_out import HeldOutCheck, held_out_check
from mvector.evaluation.lda import LdaTransform, fit_lda, length_normalise
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
from mvector.evaluation.operating_points import ErrorCounts, OperatingPoint
from mvector.evaluation.plda import Plda
from mvector.evaluation.plda_training import adapt_plda, train_plda
from mvector.evaluation.plots import error_curves_figure, save_error_curves
from mvector.evaluation.quality import model_quality, trial_quality
from mvector.evaluation.rate_table import RateRow, rate_table
from mvector.evaluation.score_norm import embedding_mean, normalised_scores, subtract_mean
from mvector.evaluation.scoring import cosine_scores
from mvector.evaluation.streaming import all_pairs_error_rates
from mvector.evaluation.trial_checks import check_trials
from mvector.evaluation.trial_lists import is_trials_file, read_trials
from mvector.evaluation.trial_speakers import count_speakers, trial_speakers
from mvector.evaluation.trials import AllPairs, EnrolmentModels, PairTrials, Trials, all_pairs

__all__ = [
    "AllPairs",
    "BootstrapIntervals",
    "Calibration",
    "Cohort",
    "CohortStatistics",
    "CurvePoint",
    "DetCurve",
    "DetectionCost",
    "EnrolmentModels",
    "ErrorCounts",
    "HeldOutCheck",
    "Interval",
    "LdaTransform",
    "MinDcf",
    "OperatingPoint",
    "PairTrials",
    "Plda",
    "RateRow",
    "Trials",
    "actual_dcf",
    "adapt_plda",
    "all_pairs",
    "all_pairs_error_rates",
    "best_accuracy",
    "bootstrap_difference",
    "bootstrap_intervals",
    "calibrate",
    "calibrate_curve",
    "calibrate_quality",
    "check_trials",
    "cllr",
    "cllr_of",
    "cohort_statistics",
    "compute_eer",
    "compute_min_dcf",
    "cosine_scores",
    "count_speakers",
    "embedding_mean",
    "error_curves_figure",
    "error_rates",
    "fit_lda",
    "held_out_check",
    "is_trials_file",
    "length_normalise",
    "llr_curve",
    "min_cllr",
    "min_cllr_of",
    "min_dcf_point",
    "model_quality",
    "normalised_scores",
    "rate_table",
    "read_trials",
    "save_error_curves",
    "subtract_mean",
    "train_plda",
    "trial_quality",
    "trial_speakers",
]
