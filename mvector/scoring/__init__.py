"""Scoring: trials, and the scores of their embeddings: cosines, normalised cosines, PLDA.

The names below load on first use: to judge two clips takes few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "AllPairs": "mvector.scoring.trials",
        "Cohort": "mvector.scoring.cohort",
        "PairTrials": "mvector.scoring.trials",
        "Plda": "mvector.scoring.plda",
        "adapt_plda": "mvector.scoring.plda_training",
        "all_pairs": "mvector.scoring.trials",
        "cosine_scores": "mvector.scoring.cosine",
        "normalised_scores": "mvector.scoring.norms",
        "read_trials": "mvector.scoring.trial_lists",
        "train_plda": "mvector.scoring.plda_training",
    },
)
