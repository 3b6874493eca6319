"""Several systems on the same trials: how much do they differ, and how sure is that?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation.bootstrap import bootstrap_difference
from mvector.evaluation.costs import VOXCELEB
from mvector.evaluation.metrics import DetCurve, error_rates
from mvector.evaluation.reports.results import with_interval
from mvector.evaluation.reports.scored import ScoredTrials, load_scores

_NUM_REPLICATES = 1000


def compare_scores(
    files: Sequence[str | os.PathLike[str]], *, num_replicates: int | None = None
) -> tuple[dict[str, Any], dict[str, DetCurve]]:
    """Compare each system with the first one, by a paired bootstrap over the speakers.

    Args:
        files: of :func:`mvector.evaluation.reports.scored.save_scores`, at least two.
        num_replicates: how often speakers are drawn; ``None`` is 1000.

    Returns:
        Plain values: ``systems`` with their figures, ``differences`` from the first with intervals,
        ``p_targets`` of the detection costs, and ``bootstrap``, which says why there are none where
        the speakers are too few; and the curve of each system by its name.

    Raises:
        EvaluationError: fewer than two files, a file that cannot be read, or trials that differ.
    """
    if len(files) < 2:
        raise EvaluationError("A comparison needs two files of scores or more.")
    if num_replicates is not None and num_replicates < 1:
        raise EvaluationError("A comparison needs replicates; give --bootstrap a number from 1.")
    names = _system_names(files)
    baseline = load_scores(files[0])
    curves = {names[0]: error_rates(baseline.scores, baseline.labels)}
    systems = [_system_figures(names[0], files[0], baseline, curves[names[0]])]
    differences = []
    bootstrap: dict[str, Any] = {}
    for name, file in zip(names[1:], files[1:], strict=True):
        other = load_scores(file)
        _check_same_trials(baseline, other, files[0], file)
        curves[name] = error_rates(other.scores, other.labels)
        systems.append(_system_figures(name, file, other, curves[name]))
        difference, bootstrap = _difference(
            systems[-1], systems[0], other, baseline, num_replicates or _NUM_REPLICATES
        )
        differences.append({"name": name, "baseline": names[0], **difference})
    return {
        "num_target": curves[names[0]].num_target,
        "num_nontarget": curves[names[0]].num_nontarget,
        "p_targets": [cost.p_target for cost in VOXCELEB],
        "systems": systems,
        "differences": differences,
        "bootstrap": bootstrap,
    }, curves


def _difference(
    system: dict[str, Any],
    baseline_system: dict[str, Any],
    scored: ScoredTrials,
    baseline: ScoredTrials,
    num_replicates: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How much higher the figures of a system are, and what the intervals are drawn from."""
    try:
        found = bootstrap_difference(
            scored.scores,
            baseline.scores,
            baseline.labels,
            *baseline.trial_speakers,
            num_replicates=num_replicates,
        )
    except EvaluationError as error:  # the trials are good, and their speakers too few
        pairs = zip(system["min_dcf"], baseline_system["min_dcf"], strict=True)
        values = [system["eer"] - baseline_system["eer"], *(one - other for one, other in pairs)]
        figures = [with_interval(value, None) for value in values]
        bootstrap: dict[str, Any] = {"why_none": str(error)}
    else:
        figures = [with_interval(one.estimate, one) for one in (found.eer, *found.min_dcf)]
        bootstrap = found.draws
    return {"eer": figures[0], "min_dcf": figures[1:]}, bootstrap


def _system_figures(
    name: str, file: str | os.PathLike[str], scored: ScoredTrials, curve: DetCurve
) -> dict[str, Any]:
    return {
        "name": name,
        "file": os.fspath(file),
        "about": dict(scored.about),
        "eer": curve.eer()[0],
        "eer_percent": 100.0 * curve.eer()[0],
        "min_dcf": [curve.min_dcf(**asdict(cost)).min_dcf for cost in VOXCELEB],
    }


def _system_names(files: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Short names if they differ, else whole paths, numbered where even these are the same."""
    stems = [Path(file).stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    paths = [os.fspath(file) for file in files]
    if len(set(paths)) == len(paths):
        return paths
    return [f"{number}: {path}" for number, path in enumerate(paths, start=1)]


def _check_same_trials(
    one: ScoredTrials,
    other: ScoredTrials,
    one_file: str | os.PathLike[str],
    other_file: str | os.PathLike[str],
) -> None:
    if len(one.scores) != len(other.scores):
        difference = f"{len(one.scores):,} and {len(other.scores):,} trials"
    elif (one.enroll_paths, one.test_paths) != (other.enroll_paths, other.test_paths):
        difference = "trials of different clips"
    elif not all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("labels", "enroll_index", "test_index")
    ):
        difference = "other trials of the same clips, or in another order"
    else:
        return
    raise EvaluationError(
        f"'{os.fspath(one_file)}' and '{os.fspath(other_file)}' hold {difference}; score the same "
        "list with both systems (with --skip_missing both must find the same clips)."
    )
