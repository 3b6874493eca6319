"""Training curves of several runs beside each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.errors import DataError
from mvector.evaluation.plots import style_axes
from mvector.files import read_errors_as
from mvector.plotting.canvas import COLOURS, drawable, name_legend, new_figure
from mvector.training.loggers import METRICS, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (
    ("Loss of the training", "train/loss", "loss", 1.0),
    ("Accuracy of the training", "train/accuracy", "%", 100.0),
    ("Equal error rate of the evaluations", "eval/eer", "EER (%)", 100.0),
    ("Learning rate", "train/learning_rate", "learning rate", 1.0),
)
_STYLES = ("-", "--", ":", "-.")
_FEW = 60  # points are drawn as they are; of more, a running mean stands before them
_MEAN_OF = 25  # the running mean is over a 25th of the points


@dataclass(frozen=True, eq=False)
class RunCurves:
    """What a run recorded: by name, steps ``(points,)`` and values ``(points,)``; NaN is a gap."""

    name: str
    curves: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def best_eer(self) -> float | None:
        """The lowest equal error rate, if any was recorded."""
        _, rates = self.curves.get("eval/eer", (None, np.zeros(0)))
        return float(np.nanmin(rates)) if np.isfinite(rates).any() else None


def read_run(run: str | os.PathLike[str]) -> RunCurves:
    """Read the curves of a run.

    Args:
        run: its folder, a model folder in it, or its ``metrics.jsonl``.

    Raises:
        DataError: it is missing, or recorded nothing that is drawn.
    """
    path = Path(run)
    file = path if path.is_file() else path / METRICS
    if not file.exists() and (path.parent / METRICS).is_file():  # best_model/ and last_model/
        file = path.parent / METRICS
    if path.is_dir() and not file.exists():
        runs = sorted(found.parent.name for found in path.glob(f"*/{METRICS}"))
        cure = f"give the run in it: {', '.join(runs)}" if runs else "give the folder of a run"
        raise DataError(f"'{run}' has no records of a training ({METRICS}); {cure}.")
    with read_errors_as(DataError, f"The record '{file}'", "give the folder of a run"):
        points = read_metrics(file)
    curves = {}
    for _, tag, _, _ in _PANELS:
        found = [(p["step"], p[tag]) for p in points if tag in p]
        steps = np.array([step for step, _ in found], dtype=np.int64)
        values = np.array([_number(value) for _, value in found])
        if np.isfinite(values).any():
            curves[tag] = steps, values
    if not curves:
        raise DataError(f"'{file}' has no points to draw: the run ended before the first one.")
    return RunCurves(os.path.normpath(file.parent), curves)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan


def curves_figure(runs: Sequence[RunCurves]) -> tuple[Figure, str]:
    """Draw loss, accuracy, EER and learning rate of runs over their steps.

    Returns:
        The figure, and a sentence about names that no font here can draw, or nothing.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with drawable(_short_names([run.name for run in runs]), "run") as (names, sentence):
        from matplotlib.lines import Line2D

        figure = new_figure(12.0, 7.6 + 0.25 * -(-len(runs) // 3))
        panels = figure.subplots(2, 2, sharex=True).ravel()
        for axes, panel in zip(panels, _PANELS, strict=True):
            _draw_panel(axes, panel, runs)
        for axes in panels[2:]:
            axes.set_xlabel("step")
        best = [run.best_eer for run in runs]
        texts = [
            name if rate is None else f"{name}: EER {100.0 * rate:.2f} % at best"
            for name, rate in zip(names, best, strict=True)
        ]
        handles = [Line2D([], [], linewidth=2.0, **_line(place)) for place in range(len(runs))]
        name_legend(figure, handles, texts, loc="outside lower center", ncols=min(3, len(runs)))
    return figure, sentence


def _line(place: int) -> dict[str, Any]:
    """Colour and style of the run of this number."""
    style = _STYLES[place // len(COLOURS) % len(_STYLES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": style}


def _draw_panel(axes: Axes, panel: tuple[str, str, str, float], runs: Sequence[RunCurves]) -> None:
    title, tag, unit, scale = panel
    for place, run in enumerate(runs):
        if tag not in run.curves:
            continue
        line, (steps, values) = _line(place), run.curves[tag]
        marker = "o" if tag.startswith("eval/") else ""
        smooth = values
        if tag in ("train/loss", "train/accuracy") and len(values) > _FEW:
            axes.plot(steps, scale * values, color=line["color"], alpha=0.25, linewidth=0.8)
            smooth = _running_mean(values, len(values) // _MEAN_OF)
        axes.plot(steps, scale * smooth, linewidth=1.6, marker=marker, markersize=3.5, **line)
        if marker:
            lowest = int(np.nanargmin(values))
            axes.plot(
                steps[lowest], scale * values[lowest], "*", color=line["color"], markersize=11
            )
    if not any(tag in run.curves for run in runs):
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="#777777")
    axes.set(title=title, ylabel=unit)
    style_axes(axes)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of ``width`` points around each, of fewer at the ends; NaN are passed over."""
    known = np.isfinite(values)
    weights = np.ones(width)
    sums = np.convolve(np.where(known, values, 0.0), weights, "same")
    counts = np.convolve(known, weights, "same")
    means = np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
    return np.where(known, means, np.nan)


def _short_names(paths: Sequence[str]) -> list[str]:
    """The last folders of paths, as many as tell them apart."""
    for depth in (1, 2, 3):
        names = ["/".join(Path(path).parts[-depth:]) for path in paths]
        if len({*names}) == len({*paths}):
            return names
    return list(paths)
