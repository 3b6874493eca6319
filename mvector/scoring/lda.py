"""Embeddings made ready for a back end: centring, LDA, length normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError


def length_normalise(embeddings: ArrayLike, *, name: str = "embedding") -> np.ndarray:
    """Scale every row to length 1.

    Args:
        embeddings: float ``(clips, dimensions)``; float32 stays so, all else becomes float64.
        name: what messages call a row.

    Returns:
        Array of the same shape.

    Raises:
        EvaluationError: a row is zero or not finite, or the array has another shape.
    """
    array = checked_embeddings(embeddings, name=name)
    # float64 sums: the square of a small float32 may vanish where its length does not.
    lengths = np.sqrt(np.einsum("ij,ij->i", array, array, dtype=np.float64))
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        raise EvaluationError(
            f"The {name} in row {zero[0]} is zero ({len(zero)} of {len(array)} are), so it has no "
            "direction to compare; check that clip and the model."
        )
    return np.divide(array, lengths[:, None], out=np.empty_like(array), casting="same_kind")


def checked_embeddings(embeddings: ArrayLike, *, name: str = "embedding") -> np.ndarray:
    """Embeddings as float32 or float64 ``(clips, dimensions)``.

    Raises:
        EvaluationError: the array has another shape, or a row is not finite.
    """
    array = np.asarray(embeddings)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise EvaluationError(
            f"An array with one {name} a row has the shape (clips, dimensions), not {array.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise EvaluationError(
            f"The {name} in row {bad[0]} is NaN or infinite ({len(bad)} of {len(array)} are); "
            "check that clip and the model.",
            code="embedding-without-direction",
        )
    return array


def check_row_count(num_rows: int, num_expected: int, kind: str) -> None:
    """Refuse embeddings that are not those of the trials."""
    if num_rows != num_expected:
        raise EvaluationError(
            f"There are {num_rows} {kind} embeddings and the trials have {num_expected} {kind} "
            "clips; give those of these trials."
        )


@dataclass(frozen=True, eq=False)
class LdaTransform:
    """Centring, a linear projection and length normalisation, in this order.

    Attributes:
        mean: float64 ``(embd_dim,)``, subtracted first.
        projection: float64 ``(embd_dim, dim)``.
    """

    mean: np.ndarray
    projection: np.ndarray

    def __call__(self, embeddings: ArrayLike) -> np.ndarray:
        """Embeddings as the model gives them to float64 ``(clips, dim)`` of length 1.

        Raises:
            EvaluationError: the dimensions differ, or a row is not finite or lies at the mean.
        """
        array = checked_embeddings(embeddings)
        if array.shape[1] != len(self.mean):
            raise EvaluationError(
                f"The back end was trained on embeddings of {len(self.mean)} dimensions and these "
                f"have {array.shape[1]}; train it on the embeddings of this model."
            )
        return length_normalise((array - self.mean) @ self.projection)


def fit_lda(embeddings: ArrayLike, speakers: ArrayLike, dim: int | None = None) -> LdaTransform:
    """Linear discriminant analysis: the directions that tell speakers apart best.

    Columns of the projection solve ``between v = eigenvalue within v`` and are scaled so that the
    within-speaker covariance becomes the identity (Fukunaga, "Introduction to Statistical Pattern
    Recognition", 1990, chapter 10). Length normalisation behind it makes the vectors fit the normal
    distributions that PLDA supposes (Garcia-Romero & Espy-Wilson, "Analysis of i-vector length
    normalization in speaker recognition systems", 2011).

    Args:
        embeddings: float ``(clips, embd_dim)``.
        speakers: ``(clips,)`` integers or names.
        dim: directions to keep; ``None`` leaves LDA out, so that only centring and length
            normalisation remain.

    Raises:
        EvaluationError: too few speakers or clips for that many directions.
    """
    array = checked_embeddings(embeddings).astype(np.float64)
    mean = array.mean(axis=0)
    embd_dim = array.shape[1]
    if dim is None:
        return LdaTransform(mean, np.eye(embd_dim))
    centred = array - mean
    num_clips, sums = speaker_sums(centred, speakers)
    most = min(embd_dim, len(num_clips) - 1)
    if not 1 <= dim <= most:
        raise EvaluationError(
            f"LDA of {len(num_clips)} speakers and {embd_dim} dimensions gives 1 to {most} "
            f"directions, not {dim}; lower the dimension or add speakers."
        )
    between = (sums / num_clips[:, None]).T @ sums / len(array)
    within = centred.T @ centred / len(array) - between
    _, directions = generalised_eigh(between, within, "LDA")
    return LdaTransform(mean, np.ascontiguousarray(directions[:, :dim]))


def speaker_sums(array: np.ndarray, speakers: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Clips of each speaker ``(speakers,)`` and the sum of their rows ``(speakers, dimensions)``.

    Raises:
        EvaluationError: not one speaker for each row, or only one speaker.
    """
    labels = np.asarray(speakers)
    if labels.shape != (len(array),):
        raise EvaluationError(
            f"There are {len(array)} embeddings and speakers of shape {labels.shape}; "
            "give one speaker for each embedding."
        )
    _, speaker, num_clips = np.unique(labels, return_inverse=True, return_counts=True)
    if len(num_clips) < 2:
        raise EvaluationError("All embeddings are of one speaker; add clips of other speakers.")
    order = np.argsort(speaker, kind="stable")
    starts = np.concatenate([[0], np.cumsum(num_clips)[:-1]])
    return num_clips, np.add.reduceat(array[order], starts, axis=0)


def generalised_eigh(
    between: np.ndarray, within: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonalise two covariances at once, the largest eigenvalue first.

    Returns:
        ``ratios (dim,)``, none negative, and ``directions (dim, dim)`` as columns, with
        ``directions.T @ within @ directions = 1`` and ``directions.T @ between @ directions =
        diag(ratios)``.

    Raises:
        EvaluationError: the within-speaker covariance has no inverse.
    """
    from scipy.linalg import LinAlgError, eigh

    try:
        if np.linalg.cond(within) * np.finfo(np.float64).eps > 1e-3:
            raise LinAlgError
        ratios, directions = eigh(between, within)
    except LinAlgError as error:
        cure = "" if name == "LDA" else ", or use fewer LDA dimensions"
        raise EvaluationError(
            f"{name} needs more clips than these to tell how a speaker varies in {len(within)} "
            f"dimensions; add clips per speaker{cure}."
        ) from error
    return np.maximum(ratios[::-1], 0.0), directions[:, ::-1]
