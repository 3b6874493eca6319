"""Windows of a recording to voices: how many there are, and which window holds which.

Within one recording room, microphone and language are the same for everybody, which lifts all
cosines by an amount that no calibration can know. So two things are done. Windows are compared
behind the mean of the recording, each with those most alike to it, and the eigenvectors of the
graph that they make are clustered (von Luxburg, "A tutorial on spectral clustering", 2007). And
whether two clusters are two people is asked of their *resemblance*: the cosine of what they have at
their cores, as a share of that of one person at two times.

Whoever speaks little has no cluster of their own in the graph. Many small clusters whose most alike
are joined tell better how many people there are, and worse which window is whose; so voices are
divided up to that number.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_NEIGHBOURS, _LEAST_NEIGHBOURS = 0.2, 6  # share of the windows that each is joined with, and number
_CHUNK = 1600  # windows clustered at once: some 20 minutes of speech
_PATIENCE = 4  # numbers of voices that are tried behind the last one that was possible
# The least alike quarter of a voice's windows are mostly of two people, or of somebody else.
_NO_CORE, _CORE_ROUNDS = 0.25, 3
_LEAST_FOR_CORE = 20  # windows; of fewer, the quarter is as likely the voice itself
_LEAST_STEADINESS = 0.05
# Parts that are joined to tell how many voices there are, and the share of the limit from which.
_NUM_PARTS, _JOINED_FROM = 12, 0.88


def cluster_windows(
    units: np.ndarray,
    *,
    limit: float,
    least: int = 1,
    most: int = 20,
    min_windows: int = 4,
) -> np.ndarray:
    """Which voice each window holds.

    Args:
        units: ``(N, embd_dim)``, embeddings of length 1, in order of time.
        limit: clusters with a resemblance from here on are one voice.
        least, most: bounds on the number of voices; equal ones decide it.
        min_windows: smaller clusters are no voice, as long as there are more than ``least``.

    Returns:
        ``(N,)`` int64, voices from 0 in the order in which they are heard first.
    """
    num_chunks = -(-len(units) // _CHUNK)
    if num_chunks < 2:
        return in_order(_cluster_chunk(units, limit, least, most, min_windows))
    labels = np.zeros(len(units), np.int64)
    borders = np.linspace(0, len(units), num_chunks + 1).astype(int)
    cores: list[np.ndarray] = []
    steadiness: list[np.ndarray] = []
    num_voices = 0
    for first, last in pairwise(borders.tolist()):
        part = slice(first, last)
        own = _cluster_chunk(units[part], limit, 1, most, min_windows)
        labels[part] = own + num_voices
        cores.append(cores_of(units[part], own))
        steadiness.append(_steadiness(units[part], own))
        num_voices += len(cores[-1])
    alike = _resemblance(np.concatenate(cores), np.concatenate(steadiness))
    return in_order(_join_chunks(alike, limit, least, most)[labels])


def in_order(labels: np.ndarray) -> np.ndarray:
    """The same labels, from 0 in the order of their first places."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def centres_of(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean direction of each voice, ``(voices, embd_dim)`` of length 1."""
    sums = np.zeros((labels.max() + 1, units.shape[1]))
    np.add.at(sums, labels, units)
    return _unit(sums)


def cores_of(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Direction of the core of each voice, ``(voices, embd_dim)`` of length 1.

    That is the mean of its windows but for the quarter that is least alike to it, where there are
    enough to tell.
    """
    return np.stack([core_of(units[labels == label]) for label in range(labels.max() + 1)])


def core_of(units: np.ndarray) -> np.ndarray:
    """Direction of the core of one voice, ``(embd_dim,)``; see :func:`cores_of`."""
    core = _unit(units.mean(axis=0, dtype=np.float64))
    for _ in range(_CORE_ROUNDS if len(units) >= _LEAST_FOR_CORE else 0):
        cosines = units @ core
        core = _unit(units[cosines >= np.quantile(cosines, _NO_CORE)].mean(axis=0, dtype=float))
    return core


def resemblance(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How alike each two clusters are, ``(K, K)``: about 1 for one voice, 0 for no likeness."""
    return _resemblance(cores_of(units, labels), _steadiness(units, labels))


def _resemblance(cores: np.ndarray, steadiness: np.ndarray) -> np.ndarray:
    return cores @ cores.T / np.sqrt(steadiness[:, None] * steadiness)


def _steadiness(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cosine that each voice's core would have with that of as many other windows of it, ``(K,)``.

    Estimated from its earlier and its later half (Spearman, Brown: "prophecy formula", 1910).
    """
    found = np.full(labels.max() + 1, np.nan)
    for label in range(len(found)):
        own = units[labels == label]
        if len(own) > 1:
            earlier, later = own[: len(own) // 2], own[len(own) // 2 :]
            halves = max(float(core_of(earlier) @ core_of(later)), _LEAST_STEADINESS)
            found[label] = 2.0 * halves / (1.0 + halves)
    typical = float(np.nanmedian(found)) if np.isfinite(found).any() else 1.0
    return np.where(np.isfinite(found), found, typical)


def _cluster_chunk(
    units: np.ndarray, limit: float, least: int, most: int, min_windows: int
) -> np.ndarray:
    """Labels of windows that are clustered together; the largest number of unlike voices."""
    best = np.zeros(len(units), np.int64)
    highest = min(most, len(units))
    if highest < 2:
        return best
    centred = _unit(units - units.mean(axis=0))
    vectors = _eigenvectors(centred, highest)
    last_possible = 1
    for number in range(2, highest + 1):
        if number > max(least, last_possible + _PATIENCE):
            break
        labels = _grouped(vectors[:, :number], number)
        kept = labels
        if number > least:
            kept = _without_small(centred, labels, min_windows, least)
        found = kept.max() + 1
        if found <= best.max() + 1:
            continue
        alike = resemblance(units, kept)
        np.fill_diagonal(alike, -np.inf)
        if found <= least or alike.max() < limit:
            best, last_possible = kept, number
    num_voices = _number_by_joining(units, centred, vectors, _JOINED_FROM * limit, min_windows)
    return _divided(units, centred, best, limit, min(most, num_voices), min_windows)


def _number_by_joining(
    units: np.ndarray, centred: np.ndarray, vectors: np.ndarray, limit: float, min_windows: int
) -> int:
    """How many voices are left of many small clusters, the most alike of which are joined."""
    number = min(_NUM_PARTS, vectors.shape[1], max(1, len(units) // min_windows))
    labels = _without_small(centred, _grouped(vectors[:, :number], number), min_windows, 1)
    while labels.max() > 0:
        alike = resemblance(units, labels)
        np.fill_diagonal(alike, -np.inf)
        one, other = np.unravel_index(alike.argmax(), alike.shape)
        if alike[one, other] < limit:
            break
        labels = in_order(np.where(labels == other, one, labels))
    return int(labels.max()) + 1


def _divided(
    units: np.ndarray,
    centred: np.ndarray,
    labels: np.ndarray,
    limit: float,
    most: int,
    min_windows: int,
) -> np.ndarray:
    """The labels, where a voice that falls into two unlike ones is two, up to ``most``.

    The graph has no cluster for whoever speaks little: most windows it joins theirs with are of
    others.
    """
    pending = [*range(labels.max() + 1)]
    while pending and labels.max() + 1 < most:
        voice = pending.pop()
        own = np.flatnonzero(labels == voice)
        if len(own) < 2 * min_windows:
            continue
        is_other = _grouped(centred[own], 2) == 1
        if min(is_other.sum(), (~is_other).sum()) < min_windows:
            continue
        divided = labels.copy()
        divided[own[is_other]] = labels.max() + 1
        alike = resemblance(units, divided)
        np.fill_diagonal(alike, -np.inf)
        if alike.max() < limit:
            labels = divided
            pending += [voice, labels.max()]
    return labels


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
    from scipy.spatial.distance import pdist

    # by distances: a square table of two or three vectors would be taken for one of them
    tree = linkage(pdist(_unit(vectors)), "ward")
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


def _join_chunks(alike: np.ndarray, limit: float, least: int, most: int) -> np.ndarray:
    """Which voice of the recording each voice of a chunk is, of their resemblance."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(alike) < 2:
        return np.zeros(len(alike), np.int64)
    distance = np.maximum(1.0 - alike, 0.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform((distance + distance.T) / 2.0, checks=False), "average")
    found = fcluster(tree, 1.0 - limit, "distance")
    number = int(np.clip(found.max(), least, most))
    return found - 1 if number == found.max() else fcluster(tree, number, "maxclust") - 1


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
