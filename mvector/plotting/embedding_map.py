"""A map of voices: embeddings in two dimensions by speaker, and how alike clips are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from mvector.errors import MissingDependencyError, count_of, import_errors_as
from mvector.evaluation.metrics import error_rates
from mvector.evaluation.plots import draw_histogram, style_axes
from mvector.plotting.canvas import (
    COLOURS,
    MARKERS,
    QUIET,
    drawable,
    name_legend,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Method: TypeAlias = Literal["tsne", "umap", "pca"]

_FEWEST = 6  # clips that t-SNE and UMAP can arrange
_PERPLEXITY = 30.0
_NEIGHBOURS = 15
_TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "first two principal components"}
_HOW_TO_READ = {
    "tsne": "near each other: alike; sizes of groups and ways between them mean nothing",
    "umap": "near each other: alike; ways between groups mean little",
    "pca": "a true projection, in which groups may cover each other",
}


def project(embeddings: np.ndarray, method: Method = "tsne", *, seed: int = 0) -> np.ndarray:
    """Directions of embeddings ``(N, D)`` as points of a plane ``(N, 2)``.

    Embeddings are brought to length 1 first, so that distances go with cosines. Fewer than six are
    projected on their principal components, whatever the method.

    Args:
        embeddings: finite and not zero.
        method: ``tsne`` (van der Maaten & Hinton, "Visualizing data using t-SNE", JMLR 2008),
            ``umap`` (McInnes et al., arXiv 1802.03426) or ``pca``.
        seed: of what is random in the first two.

    Raises:
        MissingDependencyError: the method's package is not installed.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if method == "pca" or len(rows) < _FEWEST:
        return _principal(rows)
    make = _mapper_of(method)
    if method == "umap":
        mapper = make(n_neighbors=min(_NEIGHBOURS, len(rows) - 1), random_state=seed, n_jobs=1)
    else:
        perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3.0)
        mapper = make(perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(mapper.fit_transform(rows.astype(np.float32)), dtype=np.float64)


def require_method(method: Method) -> None:
    """Raise what :func:`project` would raise for a method, before hours of work."""
    if method != "pca":
        _mapper_of(method)


def _mapper_of(method: Method) -> Any:
    """The class that arranges points.

    Raises:
        MissingDependencyError: its package is not installed.
    """
    if method == "umap":
        try:
            return import_module("umap").UMAP  # no extra has it: it brings a compiler
        except ImportError as error:
            raise MissingDependencyError(
                "--method umap needs the package umap-learn, which is not installed; --method tsne "
                "does without."
            ) from error
    with import_errors_as(
        "t-SNE needs scikit-learn: pip install scikit-learn, or choose --method pca."
    ):
        from sklearn.manifold import TSNE
    return TSNE


def _principal(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = (left * sizes)[:, :2]
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def pair_scores(embeddings: np.ndarray, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs of clips, float32 ``(pairs,)``, and whether both are of one speaker."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    one, other = np.triu_indices(len(unit), k=1)
    scores = (unit @ unit.T)[one, other].astype(np.float32)
    return scores.clip(-1.0, 1.0), speaker[one] == speaker[other]


def embedding_figure(
    embeddings: np.ndarray,
    speaker: np.ndarray,
    names: list[str],
    *,
    method: Method = "tsne",
    num_named: int = 20,
    title: str = "",
    seed: int = 0,
) -> tuple[Figure, str]:
    """Draw the map of clips and, beside it, histograms of the cosines of all their pairs.

    Args:
        embeddings: ``(N, D)``, finite and not zero.
        speaker: ``(N,)``: whose each clip is, from 0.
        names: of the speakers.
        method, seed: see :func:`project`.
        num_named: so many speakers, those with the most clips, get a colour, a shape and their
            name; the others are grey.
        title: a line above the picture.

    Returns:
        The figure, and a sentence about names that no font here can draw, or nothing.

    Raises:
        MissingDependencyError: matplotlib, or the method's package, is not installed.
    """
    counts = np.bincount(speaker, minlength=len(names))
    named = np.sort(np.argsort(-counts, kind="stable")[:num_named]).tolist()
    with drawable([names[number] for number in named], "speaker") as (shown, sentence):
        rows_of_key = -(-(len(named) + 1) // 5)
        figure = new_figure(14.0, 6.9 + 0.22 * rows_of_key)
        plane, histogram = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        points = project(embeddings, method, seed=seed)
        drawn = "pca" if len(points) < _FEWEST else method
        _draw_points(plane, points, speaker, named, shown)
        plane.set_title(f"Voices: {_TITLES[drawn]}")
        plane.set_xlabel(_HOW_TO_READ[drawn], fontsize=9)
        _draw_scores(histogram, embeddings, speaker)
        figure.suptitle(title, fontsize=12, parse_math=False)
    return figure, sentence


def _draw_points(
    axes: Axes, points: np.ndarray, speaker: np.ndarray, named: list[int], names: list[str]
) -> None:
    size = float(np.clip(13000.0 / len(points), 28.0, 60.0))  # of names, seen among many others
    least = float(np.clip(8000.0 / len(points), 6.0, 40.0))
    others = ~np.isin(speaker, named)
    handles, texts = [], list(names)
    if others.any():
        x, y = points[others].T
        grey = axes.scatter(x, y, s=least, color=QUIET, linewidths=0)
    for place, number in enumerate(named):
        x, y = points[speaker == number].T
        handles.append(
            axes.scatter(
                x,
                y,
                s=size,
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place % len(MARKERS)],
                linewidths=0.4,
                edgecolors="white",
                alpha=0.9,
            )
        )
    if others.any():
        handles.append(grey)
        texts.append(count_of(len(np.unique(speaker[others])), "other"))
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_color("#BBBBBB")
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.05)}
    name_legend(axes, handles, texts, ncols=5, fontsize=9, handletextpad=0.2, **below)


def _draw_scores(axes: Axes, embeddings: np.ndarray, speaker: np.ndarray) -> None:
    scores, labels = pair_scores(embeddings, speaker)
    if labels.any():
        curve = error_rates(scores, labels)
        draw_histogram(axes, curve, "cosine")
        title = f"Pairs of clips: EER {100.0 * curve.eer()[0]:.2f} %"
        axes.set_title(f"{title} ({curve.num_target:,} same, {curve.num_nontarget:,} different)")
    else:
        axes.hist(scores, bins=40, color=COLOURS[1], alpha=0.6)
        axes.set(title="Pairs of clips: nobody has two", xlabel="score (cosine)", ylabel="pairs")
    style_axes(axes)
