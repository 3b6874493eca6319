"""Windows of a recording to voices: how many there are, and which window holds which.

Within one recording room, microphone and language are the same for everybody, which lifts all
cosines by an amount that no calibration can know. So two things are done. Windows are compared
behind the mean of the recording, each with those most alike to it, and the eigenvectors of the
graph that they make are clustered (von Luxburg, "A tutorial on spectral clustering", 2007). And
whether two clusters are two people is asked of their *resemblance*: the mean cosine between them,
as a share of the mean cosine within them, which takes off how much a short window varies.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_NEIGHBOURS, _LEAST_NEIGHBOURS = 0.2, 6  # share of the windows that each is joined with, and number
_FEW_PAIRS = 5  # fewer say nothing of how alike the windows of a cluster are
_CHUNK = 1600  # windows clustered at once: some 20 minutes of speech


def cluster_windows(
    units: np.ndarray,
    windows: np.ndarray,
    segment_of: np.ndarray,
    *,
    limit: float,
    least: int = 1,
    most: int = 20,
    min_windows: int = 4,
) -> np.ndarray:
    """Which voice each window holds.

    Args:
        units: ``(N, embd_dim)``, embeddings of length 1.
        windows: ``(N, 2)`` begin and end in seconds, in order.
        segment_of: ``(N,)`` number of the segment that each lies in.
        limit: clusters with a resemblance from here on are one voice.
        least, most: bounds on the number of voices; equal ones decide it.
        min_windows: smaller clusters are no voice, as long as there are more than ``least``.

    Returns:
        ``(N,)`` int64, voices from 0 in the order in which they are heard first.
    """
    num_chunks = -(-len(units) // _CHUNK)
    if num_chunks < 2:
        found = _cluster_chunk(units, windows, segment_of, limit, least, most, min_windows)
        return in_order(found)
    labels = np.zeros(len(units), np.int64)
    borders = np.linspace(0, len(units), num_chunks + 1).astype(int)
    means: list[np.ndarray] = []
    spreads: list[float] = []
    for first, last in pairwise(borders.tolist()):
        part = slice(first, last)
        heard = units[part], windows[part], segment_of[part]
        own = _cluster_chunk(*heard, limit, 1, most, min_windows)
        within = np.diag(_mean_cosines(units[part], own, windows[part], segment_of[part]))
        labels[part] = own + len(means)
        means += [units[part][own == label].mean(axis=0) for label in range(len(within))]
        spreads += within.tolist()
    joined = _join_chunks(np.array(means), np.array(spreads), limit, least, most)
    return in_order(joined[labels])


def in_order(labels: np.ndarray) -> np.ndarray:
    """The same labels, from 0 in the order of their first places."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def centres_of(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean direction of each voice, ``(voices, embd_dim)`` of length 1."""
    sums = np.zeros((labels.max() + 1, units.shape[1]))
    np.add.at(sums, labels, units)
    return _unit(sums)


def resemblance(
    units: np.ndarray, labels: np.ndarray, windows: np.ndarray, segment_of: np.ndarray
) -> np.ndarray:
    """How alike each two clusters are, ``(K, K)``: about 1 for one voice, 0 for no likeness."""
    cosines = _mean_cosines(units, labels, windows, segment_of)
    return cosines / _outer_root(np.diag(cosines))


def _mean_cosines(
    units: np.ndarray, labels: np.ndarray, windows: np.ndarray, segment_of: np.ndarray
) -> np.ndarray:
    """Mean cosine between windows of each two clusters, ``(K, K)``, and within each.

    Windows of one segment share a moment and an intonation; they are left out, or where a cluster
    has hardly any others, those that overlap.
    """
    members = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    cosines = units @ units.T
    others = segment_of[:, None] != segment_of
    apart = (
        np.abs(windows.mean(axis=1)[:, None] - windows.mean(axis=1))
        >= windows[0, 1] - windows[0, 0]
    )

    def mean_over(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = members.T @ chosen @ members
        return members.T @ (cosines * chosen) @ members / np.maximum(count, 1), count

    means, count = mean_over(others)
    if (count < _FEW_PAIRS).any():
        nearer, num_nearer = mean_over(apart)
        means = np.where(count < _FEW_PAIRS, nearer, means)
        count = np.where(count < _FEW_PAIRS, num_nearer, count)
    within = np.diag(means).copy()
    known = np.diag(count) >= _FEW_PAIRS
    typical = float(np.median(within[known])) if known.any() else 1.0
    np.fill_diagonal(means, np.where(known, within, typical))
    return means


def _outer_root(within: np.ndarray) -> np.ndarray:
    roots = np.sqrt(np.maximum(within, 1e-3))
    return roots[:, None] * roots


def _cluster_chunk(
    units: np.ndarray,
    windows: np.ndarray,
    segment_of: np.ndarray,
    limit: float,
    least: int,
    most: int,
    min_windows: int,
) -> np.ndarray:
    """Labels of windows that are clustered together; the largest number of unlike voices."""
    best = np.zeros(len(units), np.int64)
    highest = min(most, len(units))
    if highest < 2:
        return best
    centred = _unit(units - units.mean(axis=0))
    vectors = _eigenvectors(centred, highest)
    for number in range(2, highest + 1):
        labels = _grouped(vectors[:, :number], number)
        kept = labels
        if number > least:
            kept = _without_small(centred, labels, min_windows, least)
        found = kept.max() + 1
        if found <= best.max() + 1:
            continue
        alike = resemblance(units, kept, windows, segment_of)
        np.fill_diagonal(alike, -np.inf)
        if found <= least or alike.max() < limit:
            best = kept
    return best


def _eigenvectors(units: np.ndarray, number: int) -> np.ndarray:
    """``(N, number)``: the smoothest functions on the graph of the most alike windows."""
    from scipy.linalg import eigh

    size = len(units)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    num_kept = min(size - 1, max(_LEAST_NEIGHBOURS, round(_NEIGHBOURS * size)))
    nearest = np.argpartition(-cosines, num_kept - 1, axis=1)[:, :num_kept]
    rows = np.arange(size)[:, None]
    graph = np.zeros_like(cosines)
    graph[rows, nearest] = np.maximum(cosines[rows, nearest], 0.0)
    graph = (graph + graph.T) / 2.0
    degree = np.sqrt(graph.sum(axis=1) + 1e-9)
    graph /= degree[:, None] * degree
    _, vectors = eigh(graph, subset_by_index=[size - number, size - 1])
    return vectors[:, ::-1]


def _grouped(vectors: np.ndarray, number: int) -> np.ndarray:
    """Rows ``(N, number)`` in so many groups, by Ward's linkage of their directions."""
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(_unit(vectors), "ward")
    return in_order(fcluster(tree, number, "maxclust"))


def _without_small(
    units: np.ndarray, labels: np.ndarray, min_windows: int, least: int
) -> np.ndarray:
    """Windows of clusters that are too small go to the nearest centre of the others."""
    sizes = np.bincount(labels)
    by_size = np.argsort(-sizes, kind="stable")
    num_kept = max(least, int((sizes >= min_windows).sum()), 1)
    kept = by_size[:num_kept]
    moved = ~np.isin(labels, kept)
    if moved.any():
        nearest = (units[moved] @ centres_of(units, labels)[kept].T).argmax(axis=1)
        labels = labels.copy()
        labels[moved] = kept[nearest]
    return in_order(labels)


def _join_chunks(
    means: np.ndarray, spreads: np.ndarray, limit: float, least: int, most: int
) -> np.ndarray:
    """Which voice of the recording each voice of a chunk is, of their mean embeddings."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(means) < 2:
        return np.zeros(len(means), np.int64)
    distance = np.maximum(1.0 - means @ means.T / _outer_root(spreads), 0.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform((distance + distance.T) / 2.0, checks=False), "average")
    found = fcluster(tree, 1.0 - limit, "distance")
    number = int(np.clip(found.max(), least, most))
    return found - 1 if number == found.max() else fcluster(tree, number, "maxclust") - 1


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
