"""The picture of an evaluation: error rates over the threshold, DET curve, score histograms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError, MissingDependencyError
from mvector.evaluation.metrics import DetCurve, MinDcf, error_rates
from mvector.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette: told apart by colour-blind readers as well.
_TARGET, _NONTARGET, _ACCENT = "#0072B2", "#D55E00", "#009E73"
_MAX_POINTS = 2000
_DET_TICKS = (1e-5, 1e-4, 1e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)
_DET_TOP = 0.99


def save_error_curves(
    scores: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """Draw :func:`error_curves_figure` into a file, which appears whole or not at all.

    Args:
        scores: float ``(num_trials,)`` cosines.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        path: where to; the suffix chooses the format (png, pdf, svg), png without one. Missing
            folders are made.
        title: a line above the picture.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`, or the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    figure = error_curves_figure(scores, labels, title)
    target = Path(path)
    picture_format = target.suffix[1:].lower() or "png"
    known = sorted(figure.canvas.get_supported_filetypes())
    if picture_format not in known:
        raise EvaluationError(
            f"Cannot draw '{target}': '.{picture_format}' is no picture format; use .png or .pdf."
        )

    def write(file: Path) -> None:
        figure.savefig(file, format=picture_format, dpi=150)

    try:
        write_atomically(target, write)
    except OSError as error:
        raise EvaluationError(
            f"Cannot write '{target}': {error.strerror or error}; choose another place."
        ) from error


def error_curves_figure(scores: ArrayLike, labels: ArrayLike, title: str = "") -> Figure:
    """Draw error rates over the threshold, the DET curve and the score histograms side by side.

    The DET curve has normal-deviate axes (Martin et al., "The DET curve in assessment of detection
    task performance", 1997): normally distributed scores make a straight line.

    Args:
        scores: float ``(num_trials,)`` cosines.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        title: a line above the picture.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "Drawing error curves needs matplotlib: pip install 'mvector[plots]'."
        ) from error
    curve = error_rates(scores, labels)
    point = curve.min_dcf()
    figure = Figure(figsize=(16.0, 5.6), layout="constrained")
    by_threshold, det, histogram = figure.subplots(1, 3, width_ratios=(1.15, 1.0, 1.15))
    _draw_rates(by_threshold, curve, point)
    _draw_det(det, curve, point)
    _draw_histogram(histogram, np.asarray(scores), np.asarray(labels).astype(bool), curve, point)
    trials = f"{curve.num_target:,} target and {curve.num_nontarget:,} non-target trials"
    figure.suptitle(f"{title}\n{trials}" if title else trials, fontsize=12, parse_math=False)
    for axes in (by_threshold, det, histogram):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def _draw_rates(axes: Axes, curve: DetCurve, point: MinDcf) -> None:
    eer, threshold = curve.eer()
    kept = _spread_indices(curve.thresholds)
    low, high = float(curve.thresholds[0]), float(curve.thresholds[-1])
    margin = 0.02 * (high - low) or 0.02
    # Each rate holds up to its threshold; both ends run on to show accept-all and reject-all.
    x = np.concatenate([[low - margin], curve.thresholds[kept], [high + margin]])
    for rates, name, colour in (
        (curve.fnr, "miss rate (FNR)", _TARGET),
        (curve.fpr, "false acceptance rate (FPR)", _NONTARGET),
    ):
        y = 100.0 * np.concatenate([rates[:1], rates[kept], rates[-1:]])
        axes.plot(x, y, drawstyle="steps-pre", color=colour, linewidth=1.8, label=name)
    _mark_thresholds(axes, threshold, point.threshold)
    axes.plot(
        threshold,
        100.0 * eer,
        "o",
        color="black",
        zorder=5,
        label=f"EER {_percent(eer)} at {threshold:.3f}",
    )
    axes.set(xlim=(x[0], x[-1]), ylim=(-2.0, 102.0))
    axes.set(title="Error rates", xlabel="threshold (cosine)", ylabel="error rate (%)")
    _legend_below(axes)


def _draw_det(axes: Axes, curve: DetCurve, point: MinDcf) -> None:
    eer, _ = curve.eer()
    # A rate of 0 lies at minus infinity: the curve ends at half a trial.
    x_floor, y_floor = (
        min(max(0.5 / count, 1e-5), 0.05) for count in (curve.num_nontarget, curve.num_target)
    )
    x, y = _deviate(_subdivided(curve.fpr), x_floor), _deviate(_subdivided(curve.fnr), y_floor)
    kept = np.union1d(_spread_indices(-x), _spread_indices(y))
    axes.plot(x[kept], y[kept], color=_TARGET, linewidth=1.8)
    diagonal = _deviate(np.array([0.0, 1.0]), 1e-5)
    axes.plot(diagonal, diagonal, color="grey", linewidth=0.8, linestyle=":")
    for fpr, fnr, marker, colour, name in (
        (eer, eer, "o", "black", f"EER {_percent(eer)}"),
        (point.fpr, point.fnr, "D", _ACCENT, f"minDCF {point.min_dcf:.3f} (p = 0.01)"),
    ):
        place = _deviate(fpr, x_floor), _deviate(fnr, y_floor)
        axes.plot(*place, marker, color=colour, zorder=5, clip_on=False, label=name)
    x_top, y_top = (min(max(0.6, 1.1 * eer, rate), _DET_TOP) for rate in (point.fpr, point.fnr))
    axes.set_xlim(_deviate(0.8 * x_floor, 0.0), _deviate(x_top, 0.0))
    axes.set_ylim(_deviate(0.8 * y_floor, 0.0), _deviate(y_top, 0.0))
    for axis, floor, top in ((axes.xaxis, x_floor, x_top), (axes.yaxis, y_floor, y_top)):
        ticks = [tick for tick in _DET_TICKS if floor <= tick <= top]
        axis.set_ticks(_deviate(ticks, 0.0), [f"{100 * tick:g}" for tick in ticks])
    axes.set(title="Detection error trade-off")
    axes.set(xlabel="false acceptance rate (%)", ylabel="miss rate (%)")
    _legend_below(axes)


def _draw_histogram(
    axes: Axes, scores: np.ndarray, is_target: np.ndarray, curve: DetCurve, point: MinDcf
) -> None:
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    rarer = min(curve.num_target, curve.num_nontarget)
    edges = np.linspace(low, high, int(np.clip(3 * rarer**0.4, 10, 100)) + 1)
    for chosen, name, colour in (
        (~is_target, "different speakers", _NONTARGET),
        (is_target, "same speaker", _TARGET),
    ):
        counts, _ = np.histogram(scores[chosen], bins=edges)
        share = 100.0 * counts / counts.sum()
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(share, edges, color=colour, linewidth=1.4, label=name)
    _mark_thresholds(axes, curve.eer()[1], point.threshold, labelled=True)
    axes.set(title="Scores", xlabel="score (cosine)", ylabel="share of the trials of its kind (%)")
    axes.set_ylim(bottom=0.0)
    _legend_below(axes)


def _mark_thresholds(axes: Axes, eer: float, min_dcf: float, labelled: bool = False) -> None:
    options: dict[str, Any] = {"linewidth": 1.1, "zorder": 1}
    axes.axvline(
        eer,
        color="black",
        linestyle="--",
        label=f"threshold at EER: {eer:.3f}" if labelled else None,
        **options,
    )
    axes.axvline(
        min_dcf,
        color=_ACCENT,
        linestyle="-.",
        label=f"threshold at minDCF: {min_dcf:.3f}" if labelled else None,
        **options,
    )


def _deviate(rates: ArrayLike, floor: float) -> Any:
    """Quantiles of the standard normal distribution, rates clipped to [floor, 0.99]."""
    from scipy.special import ndtri

    return ndtri(np.clip(rates, floor, _DET_TOP))


def _legend_below(axes: Axes) -> None:
    # Inside the axes some shape of curve always runs behind it.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)


def _subdivided(rates: np.ndarray) -> np.ndarray:
    """Points on the straight lines between few rates: those lines bend on normal-deviate axes."""
    num_parts = max(1, _MAX_POINTS // len(rates))
    if num_parts == 1:
        return rates
    places = np.arange((len(rates) - 1) * num_parts + 1) / num_parts
    return np.interp(places, np.arange(len(rates)), rates)


def _spread_indices(ascending: np.ndarray) -> np.ndarray:
    """At most ``_MAX_POINTS`` indices that cover the range of ascending values evenly."""
    if len(ascending) <= _MAX_POINTS:
        return np.arange(len(ascending))
    steps = np.linspace(ascending[0], ascending[-1], _MAX_POINTS)
    return np.unique(np.searchsorted(ascending, steps).clip(max=len(ascending) - 1))


def _percent(rate: float) -> str:
    return f"{100.0 * rate:.2f} %"
