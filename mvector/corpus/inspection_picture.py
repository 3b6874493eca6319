"""The picture of an inspection: how durations, speakers, levels and silence are distributed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from mvector.audio import SILENCE_DB
from mvector.corpus.inspection import Inspection
from mvector.errors import DataError, import_errors_as
from mvector.files import check_figure_path, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOUR = "#0072B2"  # Okabe & Ito's palette
_MAX_BINS = 60


def check_picture_path(path: str | os.PathLike[str]) -> None:
    """Refuse what :func:`save_picture` could not write, before hours of work.

    Raises:
        DataError: the suffix is no picture format.
        MissingDependencyError: matplotlib is not installed.
    """
    check_figure_path(_new_figure(), path, DataError)


def save_picture(inspection: Inspection, path: str | os.PathLike[str]) -> None:
    """Draw histograms of duration, clips per speaker, level and silence into a file.

    The suffix of ``path`` chooses the format (png, pdf, svg), png without one. The file appears
    whole or not at all.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    figure = _new_figure()
    found = inspection.measures[inspection.measures["readable"]]
    labels = np.asarray(inspection.labels)[inspection.measures["readable"]]
    duration_s = found["num_samples"] / found["sample_rate"]
    speakers, per_speaker = np.unique(labels, return_counts=True)
    (durations, speaker_counts), (levels, silence) = figure.subplots(2, 2)
    edges = _linear_edges(duration_s)
    _draw_histogram(durations, duration_s, edges, "Duration", "seconds", "clips")
    edges = _integer_edges(per_speaker)
    _draw_histogram(speaker_counts, per_speaker, edges, "Clips per speaker", "clips", "speakers")
    audible = found["level_db"][found["level_db"] >= SILENCE_DB]
    edges = _linear_edges(audible)
    _draw_histogram(levels, audible, edges, "Level", "RMS level (dB full scale)", "clips")
    share = 100.0 * found["silence_share"].astype(np.float64)
    edges = np.arange(-1.0, 102.0, 2.0)  # a clip of a second has 50 frames: steps of 2 %
    _draw_histogram(silence, share, edges, "Silence", "silent frames of a clip (%)", "clips")
    title = (
        f"{os.path.basename(os.path.abspath(inspection.source))}: {len(found):,} clips, "
        f"{len(speakers):,} speakers, {duration_s.sum() / 3600:,.2f} hours"
    )
    figure.suptitle(title, fontsize=12, parse_math=False)
    save_figure(figure, path, DataError)


def _draw_histogram(
    axes: Axes, values: np.ndarray, edges: np.ndarray, title: str, x_label: str, y_label: str
) -> None:
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    if not len(values):
        return
    counts, _ = np.histogram(values, edges)
    axes.stairs(counts, edges, fill=True, color=_COLOUR)
    if counts.max() > 50 * np.median(counts[counts > 0]):  # a few clips of odd length show too
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
    else:
        axes.set_ylim(bottom=0.0)
    median = float(np.median(values))
    axes.axvline(median, color="black", linestyle="--", linewidth=1.0, label=f"median {median:.3g}")
    axes.legend(frameon=False)


def _linear_edges(values: np.ndarray) -> np.ndarray:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _MAX_BINS + 1)


def _integer_edges(counts: np.ndarray) -> np.ndarray:
    """Edges between whole numbers, one or more of them a bin."""
    low, high = int(counts.min()), int(counts.max())
    step = -(-(high - low + 1) // _MAX_BINS)
    return np.arange(low - 0.5, high + step + 0.5, step)


def _new_figure() -> Figure:
    with import_errors_as("--picture needs matplotlib: pip install matplotlib."):
        from matplotlib.figure import Figure
    return Figure(figsize=(12.0, 8.0), layout="constrained")
