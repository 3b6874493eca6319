"""Scoring: trials, and the scores of their embeddings: cosines, normalised cosines, PLDA."""

from mvector.scoring.cohort import (
    Cohort,
    CohortStatistics,
    cohort_statistics,
)
from mvector.scoring.cosine import (
    cosine_scores,
)
from mvector.scoring.lda import (
    LdaTransform,
    fit_lda,
    length_normalise,
)
from mvector.scoring.norms import (
    embedding_mean,
    normalised_scores,
    subtract_mean,
)
from mvector.scoring.plda import (
    Plda,
)
from mvector.scoring.plda_training import (
    adapt_plda,
    train_plda,
)
from mvector.scoring.trial_checks import (
    check_trials,
)
from mvector.scoring.trial_lists import (
    is_trials_file,
    read_trials,
)
from mvector.scoring.trial_speakers import (
    count_speakers,
    trial_speakers,
)
from mvector.scoring.trials import (
    AllPairs,
    EnrolmentModels,
    PairTrials,
    Trials,
    all_pairs,
)

__all__ = [
    "AllPairs",
    "Cohort",
    "CohortStatistics",
    "EnrolmentModels",
    "LdaTransform",
    "PairTrials",
    "Plda",
    "Trials",
    "adapt_plda",
    "all_pairs",
    "check_trials",
    "cohort_statistics",
    "cosine_scores",
    "count_speakers",
    "embedding_mean",
    "fit_lda",
    "is_trials_file",
    "length_normalise",
    "normalised_scores",
    "read_trials",
    "subtract_mean",
    "train_plda",
    "trial_speakers",
]
