"""Scored trials of made-up people, for tests of reports."""

from __future__ import annotations

import numpy as np

from mvector.evaluation.reports.scored import ScoredTrials, scored_trials
from mvector.scoring import PairTrials


def made_trials(
    num_trials: int = 600, num_people: int = 30, *, seed: int = 0, skill: float = 3.0
) -> ScoredTrials:
    """Pairs of clips of people with four clips each; all people are tied by target trials."""
    generator = np.random.default_rng(seed)
    num_clips = 4 * num_people
    first = np.arange(num_trials) % num_clips
    is_target = np.arange(num_trials) % 3 == 0
    second = np.where(
        is_target,
        first // 4 * 4 + (first + 1) % 4,
        (first + 4 * generator.integers(1, num_people, num_trials)) % num_clips,
    )
    tied = np.arange(num_clips)  # each clip to the next one of its person
    first, second = np.append(first, tied), np.append(second, tied // 4 * 4 + (tied + 1) % 4)
    labels = first // 4 == second // 4
    scores = generator.normal(0.1 + 0.1 * skill * labels, 0.1)
    paths = tuple(f"person {clip // 4}/clip <{clip % 4}>.wav" for clip in range(num_clips))
    trials = PairTrials("made.txt", paths, first.astype(np.int32), second.astype(np.int32), labels)
    return scored_trials(scores, trials, {"model": "made & <up>"})
