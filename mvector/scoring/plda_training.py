"""How a PLDA is fitted: to labelled clips by EM, and to another domain without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError
from mvector.scoring.lda import checked_embeddings, fit_lda, generalised_eigh, speaker_sums
from mvector.scoring.plda import Plda


def train_plda(
    embeddings: ArrayLike,
    speakers: ArrayLike,
    *,
    lda_dim: int | None = None,
    max_iterations: int = 50,
    tolerance: float = 1e-5,
    fingerprint: str = "",
) -> Plda:
    """Fit LDA and a two-covariance PLDA to labelled clips, by maximum likelihood.

    EM from the sample covariances, with the speakers' variables as what is hidden. A speaker with
    one clip counts too. An iteration costs a few products of ``(speakers, dim)`` and ``(dim,
    dim)``, however many clips there are.

    Args:
        embeddings: float ``(clips, embd_dim)`` as the model gives them.
        speakers: ``(clips,)`` integers or names.
        lda_dim: directions that LDA keeps; ``None`` keeps all dimensions.
        max_iterations: most steps of EM.
        tolerance: EM ends when the log-likelihood grows by less, per clip.
        fingerprint: of the model that made the embeddings, kept with the result.

    Raises:
        EvaluationError: one speaker only, or too few clips for that many dimensions.
    """
    transform = fit_lda(embeddings, speakers, lda_dim)
    vectors = transform(embeddings)
    num_clips, sums = speaker_sums(vectors, speakers)
    scatter = vectors.T @ vectors
    mean = vectors.mean(axis=0)
    centred = sums / num_clips[:, None] - mean
    between = (centred * num_clips[:, None]).T @ centred / len(vectors)
    within = scatter / len(vectors) - np.outer(mean, mean) - between
    last = -np.inf
    for _ in range(max_iterations):
        step = _em_step(num_clips, sums, scatter, mean, between, within)
        mean, between, within, likelihood = step
        if likelihood - last < tolerance * len(vectors):
            break
        last = likelihood
    return Plda(transform, mean, between, within, fingerprint)


def adapt_plda(
    plda: Plda,
    embeddings: ArrayLike,
    *,
    between_weight: float = 0.5,
    within_weight: float = 0.5,
) -> Plda:
    """Fit a PLDA to another domain from clips of unknown speakers.

    CORAL+ (Lee, Wang & Koshinaka, "The CORAL+ algorithm for unsupervised domain adaptation of
    PLDA", 2019): both covariances are carried over by the map that turns the total covariance of
    the training domain into that of the new one; where a direction varies more there, it grows by
    a share of the excess, and it never shrinks. The mean becomes that of the new domain, in front
    of the length normalisation and behind it.

    Args:
        plda: trained on another domain.
        embeddings: float ``(clips, embd_dim)`` of the new domain, of the same model.
        between_weight: share of the excess taken over for ``between``, 0 to 1.
        within_weight: the same for ``within``.

    Raises:
        EvaluationError: a weight is out of range, or there are fewer than two clips.
    """
    if not (0.0 <= between_weight <= 1.0 and 0.0 <= within_weight <= 1.0):
        raise EvaluationError(
            f"The weights of an adaptation lie between 0 and 1; got {between_weight:g} for "
            f"between and {within_weight:g} for within."
        )
    array = checked_embeddings(embeddings).astype(np.float64)
    if len(array) < 2:
        raise EvaluationError("An adaptation needs two clips at least; give more embeddings.")
    transform = replace(plda.transform, mean=array.mean(axis=0))
    vectors = transform(array)
    new_total = np.cov(vectors, rowvar=False, bias=True).reshape(plda.within.shape)
    carry = _matrix_power(new_total, 0.5) @ _matrix_power(plda.between + plda.within, -0.5)

    def adapted(covariance: np.ndarray, weight: float) -> np.ndarray:
        return covariance + weight * _excess_covariance(carry @ covariance @ carry.T, covariance)

    return replace(
        plda,
        transform=transform,
        mean=vectors.mean(axis=0),
        between=adapted(plda.between, between_weight),
        within=adapted(plda.within, within_weight),
    )


def _em_step(
    num_clips: np.ndarray,
    sums: np.ndarray,
    scatter: np.ndarray,
    mean: np.ndarray,
    between: np.ndarray,
    within: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """One step of EM, and the log-likelihood of the parameters that were given."""
    ratios, directions = generalised_eigh(between, within, "PLDA")
    back = within @ directions  # from the diagonal space; its inverse is directions.T
    total, dim = int(num_clips.sum()), len(mean)
    # The clips of speaker i, seen as an estimate of the speaker: posterior mean and variance.
    centred = (sums - num_clips[:, None] * mean) @ directions
    shrunk = ratios / (1.0 + num_clips[:, None] * ratios)
    hidden = shrunk * centred
    deviation = scatter - np.outer(mean, sums.sum(axis=0)) - np.outer(sums.sum(axis=0), mean)
    deviation = deviation + total * np.outer(mean, mean)
    likelihood = -0.5 * (
        total * (dim * np.log(2.0 * np.pi) + np.linalg.slogdet(within)[1])
        + np.log1p(num_clips[:, None] * ratios).sum()
        + np.einsum("ij,ij->", directions, deviation @ directions)
        - (hidden * centred).sum()
    )
    middle = hidden.mean(axis=0)
    spread = (hidden - middle).T @ (hidden - middle) / len(hidden) + np.diag(shrunk.mean(axis=0))
    new_mean = mean + back @ middle
    cross = back @ (hidden.T @ centred) @ back.T
    explained = (hidden * num_clips[:, None]).T @ hidden + np.diag(num_clips @ shrunk)
    new_within = (deviation - cross - cross.T + back @ explained @ back.T) / total
    return new_mean, _symmetric(back @ spread @ back.T), _symmetric(new_within), float(likelihood)


def _excess_covariance(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """What ``new`` has more than ``old``, in those directions of both where it has more."""
    values, vectors = np.linalg.eigh(_symmetric(old))
    floor = values.max() * 1e-10  # of a singular covariance, the empty directions
    root = vectors * np.sqrt(np.maximum(values, floor))
    inverse = vectors / np.sqrt(np.maximum(values, floor))
    gains, turned = np.linalg.eigh(_symmetric(inverse.T @ new @ inverse))
    back = root @ turned
    return _symmetric((back * np.maximum(gains - 1.0, 0.0)) @ back.T)


def _matrix_power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(_symmetric(covariance))
    powers = np.maximum(values, values.max() * 1e-12) ** exponent
    return (vectors * powers) @ vectors.T


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T)
