"""Error rates of parts of the trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from mvector.evaluation.metrics import error_rates
from mvector.evaluation.reports.grouping import Grouping
from mvector.evaluation.reports.scored import ScoredTrials


def break_down(scored: ScoredTrials, grouping: Grouping, threshold: float) -> dict[str, Any]:
    """EER, minDCF and counts of each group.

    Args:
        scored: the trials.
        grouping: parts them.
        threshold: of all trials; the errors that it makes in each group are counted too, for a
            product has one threshold.

    Returns:
        Plain values: ``by``, ``explanation``, ``threshold``, ``num_clips``, ``num_clips_unknown``,
        ``num_trials_unknown`` and ``groups``, those with a trial. Rates are ``None`` where a group
        has no trial of a kind.
    """
    order = np.argsort(grouping.group, kind="stable")
    starts = np.searchsorted(grouping.group[order], np.arange(len(grouping.names) + 1))
    groups = []
    for place, name in enumerate(grouping.names):
        members = order[starts[place] : starts[place + 1]]
        if len(members):
            figures = _figures(scored.scores[members], scored.labels[members], threshold)
            groups.append({"value": name, **figures})
    return {
        "by": grouping.by,
        "explanation": grouping.explanation,
        "threshold": threshold,
        "num_clips": grouping.num_clips,
        "num_clips_unknown": grouping.num_unknown,
        "num_trials_unknown": int(starts[0]),
        "groups": groups,
    }


def _figures(scores: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, Any]:
    num_target = int(np.count_nonzero(labels))
    num_nontarget = len(labels) - num_target
    accepted = scores >= threshold
    num_false_accepts = int(np.count_nonzero(accepted & ~labels))
    num_misses = num_target - int(np.count_nonzero(accepted & labels))
    figures: dict[str, Any] = {
        "num_target": num_target,
        "num_nontarget": num_nontarget,
        "eer": None,
        "threshold_eer": None,
        "min_dcf": None,
        "fnr": num_misses / num_target if num_target else None,
        "fpr": num_false_accepts / num_nontarget if num_nontarget else None,
    }
    if num_target and num_nontarget:
        curve = error_rates(scores, labels)
        figures["eer"], figures["threshold_eer"] = curve.eer()
        figures["min_dcf"] = curve.min_dcf().min_dcf
    return figures
