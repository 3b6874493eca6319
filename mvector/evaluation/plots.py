"""The picture of an evaluation: error rates over the threshold, DET curve, score histograms."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mvector.errors import EvaluationError, import_errors_as
from mvector.evaluation.det_plot import (
    ACCENT,
    NONTARGET,
    TARGET,
    draw_det,
    legend_below,
    percent,
    spread_indices,
)
from mvector.evaluation.metrics import DetCurve
from mvector.files import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_error_curves(
    curve: DetCurve,
    path: str | os.PathLike[str],
    title: str = "",
    score_type: str = "cosine",
) -> None:
    """Draw :func:`error_curves_figure` into a file, which appears whole or not at all.

    The suffix chooses the format (png, pdf, svg), png without one. Missing folders are made.

    Raises:
        EvaluationError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    save_figure(error_curves_figure(curve, title, score_type), path, EvaluationError)


def error_curves_figure(curve: DetCurve, title: str = "", score_type: str = "cosine") -> Figure:
    """Draw error rates over the threshold, the DET curve and the score histograms side by side.

    The DET curve has normal-deviate axes (Martin et al., "The DET curve in assessment of detection
    task performance", 1997): normally distributed scores make a straight line.

    Args:
        curve: of the trials.
        title: a line above the picture.
        score_type: what the scores are, for the axes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = _new_figure(16.0, 5.6)
    by_threshold, det, histogram = figure.subplots(1, 3, width_ratios=(1.15, 1.0, 1.15))
    _draw_rates(by_threshold, curve, score_type)
    draw_det(det, {"": curve})
    draw_histogram(histogram, curve, score_type)
    trials = f"{curve.num_target:,} target and {curve.num_nontarget:,} non-target trials"
    figure.suptitle(f"{title}\n{trials}" if title else trials, fontsize=12, parse_math=False)
    for axes in figure.axes:
        style_axes(axes)
    return figure


def det_figure(curves: Mapping[str, DetCurve]) -> Figure:
    """Draw the DET curves of one or several systems, by name; that of a single one is not shown.

    On each the operating points are marked: EER, minDCF (diamond), FAR 1 % (square) and FAR 0.1 %
    (triangle).
    """
    return _single_figure(5.6, lambda axes: draw_det(axes, curves, with_rates=True))


def rates_figure(curve: DetCurve, score_type: str = "cosine") -> Figure:
    """Draw FNR and FPR over the threshold."""
    return _single_figure(4.6, lambda axes: _draw_rates(axes, curve, score_type))


def histogram_figure(curve: DetCurve, score_type: str = "cosine") -> Figure:
    """Draw histograms of the scores of both kinds of trials."""
    return _single_figure(5.6, lambda axes: draw_histogram(axes, curve, score_type))


def _single_figure(height: float, draw: Callable[[Axes], None]) -> Figure:
    figure = _new_figure(6.6, height)
    axes = figure.subplots()
    draw(axes)
    style_axes(axes)
    return figure


def _new_figure(width: float, height: float) -> Figure:
    with import_errors_as("Drawing error curves needs matplotlib: pip install matplotlib."):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def style_axes(axes: Axes) -> None:
    """Two spines and a faint grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_rates(axes: Axes, curve: DetCurve, score_type: str) -> None:
    eer, threshold = curve.eer()
    kept = spread_indices(curve.thresholds)
    low, high = float(curve.thresholds[0]), float(curve.thresholds[-1])
    margin = 0.02 * (high - low) or 0.02
    # Each rate holds up to its threshold; both ends run on to show accept-all and reject-all.
    x = np.concatenate([[low - margin], curve.thresholds[kept], [high + margin]])
    for rates, name, colour in (
        (curve.fnr, "miss rate (FNR)", TARGET),
        (curve.fpr, "false acceptance rate (FPR)", NONTARGET),
    ):
        y = 100.0 * np.concatenate([rates[:1], rates[kept], rates[-1:]])
        axes.plot(x, y, drawstyle="steps-pre", color=colour, linewidth=1.8, label=name)
    _mark_thresholds(axes, curve)
    axes.plot(
        threshold,
        100.0 * eer,
        "o",
        color="black",
        zorder=5,
        label=f"EER {percent(eer)} at {threshold:.3f}",
    )
    axes.set(xlim=(x[0], x[-1]), ylim=(-2.0, 102.0))
    axes.set(title="Error rates", xlabel=f"threshold ({score_type})", ylabel="error rate (%)")
    legend_below(axes)


def draw_histogram(axes: Axes, curve: DetCurve, score_type: str) -> None:
    """Draw histograms of the scores of both kinds of trials, with two thresholds."""
    scores = curve.thresholds[:-1]
    low, high = float(scores[0]), float(scores[-1])
    if low == high:
        low, high = low - 0.5, high + 0.5
    rarer = min(curve.num_target, curve.num_nontarget)
    edges = np.linspace(low, high, int(np.clip(3 * rarer**0.4, 10, 100)) + 1)
    for num_trials, name, colour in (
        (-np.diff(curve.num_false_accepts), "different speakers", NONTARGET),
        (np.diff(curve.num_misses), "same speaker", TARGET),
    ):
        counts, _ = np.histogram(scores, bins=edges, weights=num_trials)
        share = 100.0 * counts / counts.sum()
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(share, edges, color=colour, linewidth=1.4, label=name)
    _mark_thresholds(axes, curve, labelled=True)
    axes.set(title="Scores", xlabel=f"score ({score_type})")
    axes.set_ylabel("share of the trials of its kind (%)")
    axes.set_ylim(bottom=0.0)
    legend_below(axes)


def _mark_thresholds(axes: Axes, curve: DetCurve, labelled: bool = False) -> None:
    for name, threshold, colour, style in (
        ("EER", curve.eer()[1], "black", "--"),
        ("minDCF", curve.min_dcf().threshold, ACCENT, "-."),
    ):
        label = f"threshold at {name}: {threshold:.3f}" if labelled else None
        axes.axvline(threshold, color=colour, linestyle=style, label=label, linewidth=1.1, zorder=1)
