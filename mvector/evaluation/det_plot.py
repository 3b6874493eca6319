"""The DET curve: miss rate over false-acceptance rate, on normal-deviate axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.evaluation.metrics import DetCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's palette: told apart by colour-blind readers as well.
TARGET, NONTARGET, ACCENT = "#0072B2", "#D55E00", "#009E73"
_COLOURS = (TARGET, NONTARGET, ACCENT, "#CC79A7", "#E69F00", "#56B4E9", "black")
_MAX_POINTS = 2000
_TICKS = (1e-5, 1e-4, 1e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)
_TOP = 0.99


def draw_det(axes: Axes, curves: Mapping[str, DetCurve], *, with_rates: bool = False) -> None:
    """Draw DET curves with their operating points, by name of the system.

    The name of a single one is not shown, but its points are named. ``with_rates`` marks FAR 1 %
    and FAR 0.1 % beside EER and minDCF.
    """
    # A rate of 0 lies at minus infinity: a curve ends at half a trial.
    x_floor = _lowest_rate(max(curve.num_nontarget for curve in curves.values()))
    y_floor = _lowest_rate(max(curve.num_target for curve in curves.values()))
    is_single = len(curves) == 1
    x_top = y_top = 0.6
    for place, (name, curve) in enumerate(curves.items()):
        x, y = (
            _normal_deviate(_interpolated(curve.fpr), x_floor),
            _normal_deviate(_interpolated(curve.fnr), y_floor),
        )
        kept = np.union1d(spread_indices(-x), spread_indices(y))
        eer, _ = curve.eer()
        colour, style = _COLOURS[place % len(_COLOURS)], "-" if place < len(_COLOURS) else "--"
        label = None if is_single else f"{name}: EER {percent(eer)}"
        axes.plot(x[kept], y[kept], style, color=colour, linewidth=1.8, label=label)
        for fpr, fnr, marker, point_colour, words in _operating_points(curve, with_rates):
            axes.plot(
                _normal_deviate(fpr, x_floor),
                _normal_deviate(fnr, y_floor),
                marker,
                color=point_colour if is_single else colour,
                zorder=5,
                clip_on=False,
                label=words if is_single else None,
            )
            x_top, y_top = max(x_top, fpr), max(y_top, fnr)
        x_top, y_top = max(x_top, 1.1 * eer), max(y_top, 1.1 * eer)
    _set_scale(axes, (x_floor, y_floor), (min(x_top, _TOP), min(y_top, _TOP)))
    axes.set(title="Detection error trade-off")
    axes.set(xlabel="false acceptance rate (%)", ylabel="miss rate (%)")
    legend_below(axes)


def _operating_points(
    curve: DetCurve, with_rates: bool
) -> list[tuple[float, float, str, str, str]]:
    """FPR, FNR, marker, colour and words of what is marked on a curve."""
    eer, point = curve.eer()[0], curve.min_dcf()
    points = [
        (eer, eer, "o", "black", f"EER {percent(eer)}"),
        (point.fpr, point.fnr, "D", ACCENT, f"minDCF {point.min_dcf:.3f} (p = 0.01)"),
    ]
    for rate, marker in ((0.01, "s"), (0.001, "^")) if with_rates else ():
        if curve.num_nontarget * rate >= 1.0:
            at_rate = curve.at_fpr(rate)
            words = f"FAR {100 * rate:g} %: FRR {percent(at_rate.fnr)}"
            points.append((at_rate.fpr, at_rate.fnr, marker, NONTARGET, words))
    return points


def _set_scale(axes: Axes, floors: tuple[float, float], tops: tuple[float, float]) -> None:
    diagonal = _normal_deviate(np.array([0.0, 1.0]), 1e-5)
    axes.plot(diagonal, diagonal, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlim(_normal_deviate(0.8 * floors[0], 0.0), _normal_deviate(tops[0], 0.0))
    axes.set_ylim(_normal_deviate(0.8 * floors[1], 0.0), _normal_deviate(tops[1], 0.0))
    for axis, floor, top in zip((axes.xaxis, axes.yaxis), floors, tops, strict=True):
        ticks = [tick for tick in _TICKS if floor <= tick <= top]
        axis.set_ticks(_normal_deviate(ticks, 0.0), [f"{100 * tick:g}" for tick in ticks])


def _lowest_rate(num_trials: int) -> float:
    return min(max(0.5 / num_trials, 1e-5), 0.05)


def _normal_deviate(rates: ArrayLike, floor: float) -> Any:
    """Quantiles of the standard normal distribution, rates clipped to [floor, 0.99]."""
    from scipy.special import ndtri

    return ndtri(np.clip(rates, floor, _TOP))


def legend_below(axes: Axes) -> None:
    """A legend below the axes: inside of them some shape of curve always runs behind it."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)


def _interpolated(rates: np.ndarray) -> np.ndarray:
    """Points on the straight lines between few rates: those lines bend on normal-deviate axes."""
    num_parts = max(1, _MAX_POINTS // len(rates))
    if num_parts == 1:
        return rates
    places = np.arange((len(rates) - 1) * num_parts + 1) / num_parts
    return np.interp(places, np.arange(len(rates)), rates)


def spread_indices(ascending: np.ndarray) -> np.ndarray:
    """At most ``_MAX_POINTS`` indices that cover the range of ascending values evenly."""
    if len(ascending) <= _MAX_POINTS:
        return np.arange(len(ascending))
    steps = np.linspace(ascending[0], ascending[-1], _MAX_POINTS)
    return np.unique(np.searchsorted(ascending, steps).clip(max=len(ascending) - 1))


def percent(rate: float) -> str:
    """A rate as text."""
    return f"{100.0 * rate:.2f} %"
