"""PLDA: a score from how speakers differ and how one speaker varies.

The two-covariance model: an embedding is ``mean + speaker + channel`` with ``speaker ~ N(0,
between)``, the same in all clips of a person, and ``channel ~ N(0, within)``, drawn anew for each.
The score of a trial is the natural-log likelihood ratio of *one speaker* to *two speakers*
(Brümmer & de Villiers, "The speaker partitioning problem", 2010).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import CheckpointError, EvaluationError
from mvector.files import write_atomically, write_errors_as
from mvector.scoring.blocks import all_pair_blocks, flatten_band, pair_products
from mvector.scoring.lda import LdaTransform, check_row_count, generalised_eigh
from mvector.scoring.trials import AllPairs, Trials

_FORMAT = "mvector-plda-1"
_ARRAYS = ("centre", "projection", "mean", "between", "within")


@dataclass(frozen=True, eq=False)
class Plda:
    """A trained PLDA with the transform in front of it.

    Attributes:
        transform: centring, LDA and length normalisation of embeddings; gives ``dim`` numbers.
        mean: float64 ``(dim,)``.
        between: float64 ``(dim, dim)``, covariance of speakers.
        within: float64 ``(dim, dim)``, covariance of the clips of one speaker.
        fingerprint: of the model that made the embeddings.
    """

    transform: LdaTransform
    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray
    fingerprint: str = ""

    @cached_property
    def _diagonalised(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions in which ``within`` is 1, and the variance of speakers in each."""
        ratios, directions = generalised_eigh(self.between, self.within, "PLDA")
        return directions, ratios

    def score(
        self,
        enroll_embeddings: ArrayLike,
        test_embeddings: ArrayLike,
        trials: Trials,
    ) -> np.ndarray:
        """Log-likelihood ratio of every trial.

        An enrolment model with several clips is scored by the book: the test clip given all of
        them jointly, which weighs a speaker known from ten clips otherwise than one known from one.

        Args:
            enroll_embeddings: float ``(E, embd_dim)`` as the model gives them, of each of
                ``trials.enroll_paths``; where the trials have models, of each of ``trials.paths``.
            test_embeddings: float ``(T, embd_dim)`` of each of ``trials.test_paths``.
            trials: what to compare.

        Returns:
            float64 ``(num_trials,)``, in the order of ``trials.labels``.

        Raises:
            EvaluationError: the arrays do not fit the trials or the back end.
        """
        directions, ratios = self._diagonalised
        enroll = (self.transform(enroll_embeddings) - self.mean) @ directions
        test = (self.transform(test_embeddings) - self.mean) @ directions
        check_row_count(len(test), len(trials.test_paths), "test")
        num_clips, sums = _sums_by_model(enroll, trials)
        # With f the sum of n clips, a set of clips has the log-likelihood
        # 0.5 f'c(n)f - 0.5 log|1 + n ratios| + what cancels, where c(n) = ratios / (1 + n ratios).
        counts, group = np.unique(num_clips, return_inverse=True)
        alone, joint = (ratios / (1.0 + (counts[:, None] + k) * ratios) for k in (0, 1))
        weighted = sums * joint[group]
        of_model = 0.5 * np.einsum("ij,ij->i", sums, weighted - sums * alone[group])
        of_model += 0.5 * _log_determinants(counts, ratios)[group]
        of_test = 0.5 * (test * test) @ (joint - ratios / (1.0 + ratios)).T  # (T, counts)
        # One product of each pair: the constants of a side stand opposite a 1 of the other.
        group_of = np.arange(len(counts)) == group[:, None]
        left = np.column_stack([weighted, of_model, group_of])
        right = np.column_stack([test, np.ones(len(test)), of_test])
        if not isinstance(trials, AllPairs):
            return pair_products(left, right, trials.enroll_index, trials.test_index)
        scores = np.empty(len(trials))
        for clips, made, left_out in all_pair_blocks(trials):
            scores[made] = flatten_band(right[clips] @ left.T, left_out)
        return scores

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the back end as one safetensors file.

        Raises:
            EvaluationError: the file cannot be written.
        """
        from safetensors.numpy import save_file

        values = (self.transform.mean, self.transform.projection)
        arrays = dict(zip(_ARRAYS, (*values, self.mean, self.between, self.within), strict=True))
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        metadata = {"format": _FORMAT, "fingerprint": self.fingerprint}
        with write_errors_as(EvaluationError, f"'{path}'"):
            write_atomically(Path(path), lambda file: save_file(arrays, file, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, fingerprint: str | None = None) -> Plda:
        """Read what :meth:`save` wrote; ``fingerprint`` is of the model in use, ``None`` any.

        Raises:
            CheckpointError: the file is missing, damaged or belongs to another model.
        """
        from safetensors import SafetensorError, safe_open

        name = os.fspath(path)
        try:
            with safe_open(name, framework="numpy") as file:
                metadata = file.metadata() or {}
                arrays = [file.get_tensor(key) for key in _ARRAYS]
        except FileNotFoundError as error:
            raise CheckpointError(f"The PLDA '{name}' does not exist; train one first.") from error
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"'{name}' is no PLDA or is damaged: {error}.") from error
        centre, projection, mean, between, within = arrays
        if metadata.get("format") != _FORMAT or projection.shape != (len(centre), len(mean)):
            raise CheckpointError(f"'{name}' is no PLDA of this version; train it again.")
        found = metadata.get("fingerprint", "")
        if fingerprint is not None and fingerprint != found:
            raise CheckpointError(
                f"The PLDA '{name}' belongs to model {found or 'unknown'}, not to {fingerprint}; "
                "train it on embeddings of the model in use.",
                code="model-mismatch",
            )
        return cls(LdaTransform(centre, projection), mean, between, within, found)


def _log_determinants(counts: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Terms of :meth:`Plda.score` that depend on the number of clips alone, doubled."""
    first, joint = (np.log1p((counts[:, None] + k) * ratios).sum(axis=1) for k in (0, 1))
    return first + np.log1p(ratios).sum() - joint


def _sums_by_model(enroll: np.ndarray, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Clips of each enrolment model, and their sum."""
    models = None if isinstance(trials, AllPairs) else trials.models
    if models is None:
        check_row_count(len(enroll), len(trials.enroll_paths), "enrolment")
        return np.ones(len(enroll), dtype=np.int64), enroll
    check_row_count(len(enroll), len(trials.test_paths), "enrolment")
    return models.num_clips, np.add.reduceat(enroll[models.clips], models.starts[:-1], axis=0)
