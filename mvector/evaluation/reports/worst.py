"""The trials a model is most wrong about; often it is the list that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from mvector.evaluation.reports.scored import ScoredTrials

NUM_WORST = 50


def worst_trials(scored: ScoredTrials, num_worst: int = NUM_WORST) -> dict[str, list[Any]]:
    """Target trials with the lowest scores and non-target trials with the highest, worst first.

    Returns:
        For ``target`` and ``nontarget`` a list of ``score``, ``enroll`` and ``test``, each with up
        to ``num_worst``.
    """
    return {
        "target": _lowest_scores(scored, np.flatnonzero(scored.labels), 1.0, num_worst),
        "nontarget": _lowest_scores(scored, np.flatnonzero(~scored.labels), -1.0, num_worst),
    }


def _lowest_scores(
    scored: ScoredTrials, trials: np.ndarray, sign: float, num_worst: int
) -> list[dict[str, Any]]:
    scores = sign * scored.scores[trials]
    num_worst = min(num_worst, len(trials))
    chosen = trials[np.argpartition(scores, num_worst - 1)[:num_worst]]
    chosen = chosen[np.lexsort((chosen, sign * scored.scores[chosen]))]
    return [
        {
            "score": float(scored.scores[trial]),
            "enroll": scored.enroll_paths[scored.enroll_index[trial]],
            "test": scored.test_paths[scored.test_index[trial]],
        }
        for trial in chosen.tolist()
    ]
