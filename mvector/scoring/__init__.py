"""Scoring: trials, and the scores of their embeddings: cosines, normalised cosines, PLDA."""

from mvector.scoring.cohort import Cohort
from mvector.scoring.cosine import cosine_scores
from mvector.scoring.norms import normalised_scores
from mvector.scoring.plda import Plda
from mvector.scoring.plda_training import adapt_plda, train_plda
from mvector.scoring.trial_lists import read_trials
from mvector.scoring.trials import AllPairs, PairTrials, all_pairs

__all__ = [
    "AllPairs",
    "Cohort",
    "PairTrials",
    "Plda",
    "adapt_plda",
    "all_pairs",
    "cosine_scores",
    "normalised_scores",
    "read_trials",
    "train_plda",
]
