"""The cohort of score normalisation: strangers that both sides of a trial are compared with."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import CheckpointError, EvaluationError
from mvector.files import write_errors_as, write_npz
from mvector.progress import progress_bar
from mvector.scoring.blocks import row_blocks
from mvector.scoring.lda import length_normalise, speaker_sums

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Clips, or averaged speakers, that others are compared with.

    Attributes:
        vectors: float64 ``(cohort, embd_dim)`` of length 1; float32 as read from a model folder.
        fingerprint: of the model that made them.
    """

    vectors: np.ndarray
    fingerprint: str = ""

    @classmethod
    def from_embeddings(
        cls, embeddings: ArrayLike, *, fingerprint: str = "", speakers: ArrayLike | None = None
    ) -> Cohort:
        """Make a cohort.

        Args:
            embeddings: float ``(clips, embd_dim)``, with the mean subtracted if that of the trials
                is subtracted too.
            fingerprint: of the model that made them.
            speakers: ``(clips,)`` integers or names, to take one vector for each speaker: the mean
                of the clips' unit vectors, at length 1. ``None`` takes every clip.

        Raises:
            EvaluationError: an embedding is zero or not finite, or the speakers do not fit.
        """
        vectors = length_normalise(np.asarray(embeddings, np.float64), name="cohort embedding")
        if speakers is not None:
            _, sums = speaker_sums(vectors, speakers)
            vectors = length_normalise(sums, name="cohort speaker")
        return cls(vectors, fingerprint)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cohort as one npz file.

        Raises:
            EvaluationError: the file cannot be written.
        """
        _save_npz(path, vectors=self.vectors, fingerprint=np.array(self.fingerprint))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, fingerprint: str | None = None) -> Cohort:
        """Read what :meth:`save` wrote; ``fingerprint`` is of the model in use, ``None`` any.

        Raises:
            CheckpointError: the file is missing, damaged or belongs to another model.
        """
        values = _load_npz(path, ("vectors", "fingerprint"), "cohort")
        found = str(values["fingerprint"])
        if fingerprint is not None and fingerprint != found:
            raise CheckpointError(
                f"The cohort '{os.fspath(path)}' belongs to model {found or 'unknown'}, not to "
                f"{fingerprint}; make it of embeddings of the model in use.",
                code="model-mismatch",
            )
        return cls(values["vectors"], found)


@dataclass(frozen=True, eq=False)
class CohortStatistics:
    """Mean and standard deviation of the scores of clips against a cohort.

    Attributes:
        mean: float64 ``(clips,)``.
        std: float64 ``(clips,)``, the root of the mean square deviation.
        num_cohort: cohort scores that went into each.
        fingerprint: of the model.
    """

    mean: np.ndarray
    std: np.ndarray
    num_cohort: int
    fingerprint: str = ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the statistics as one npz file.

        Raises:
            EvaluationError: the file cannot be written.
        """
        numbers = {"mean": self.mean, "std": self.std, "num_cohort": np.array(self.num_cohort)}
        _save_npz(path, **numbers, fingerprint=np.array(self.fingerprint))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CohortStatistics:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        names = ("mean", "std", "num_cohort", "fingerprint")
        mean, std, num_cohort, fingerprint = _load_npz(path, names, "cohort statistics").values()
        return cls(mean, std, int(num_cohort), str(fingerprint))


def cohort_statistics(
    embeddings: ArrayLike,
    cohort: Cohort,
    *,
    top_n: int | None = 300,
    cache_folder: str | os.PathLike[str] | None = None,
    block_size: int = 8_388_608,
    progress: bool = False,
) -> CohortStatistics:
    """Compare clips with a cohort.

    In float64 throughout: the spread of many cosines may be as small as the rounding of float32.

    Args:
        embeddings: float ``(clips, embd_dim)``, treated as those of the cohort were.
        cohort: whom to compare them with.
        top_n: how many of the cohort, those most alike to each clip (AS-norm); ``None`` takes all
            (S-norm). A smaller cohort is taken whole, with a warning.
        cache_folder: where results are kept, under the model's fingerprint and a hash of all that
            they follow from; ``None`` keeps none.
        block_size: most cosines held at a time.
        progress: show a bar over the clips.

    Raises:
        EvaluationError: an embedding is zero or not finite, ``top_n`` is below 2, or the cohort has
            fewer than two different vectors.
    """
    units = length_normalise(np.asarray(embeddings, np.float64))
    num_cohort = _cohort_size(cohort, units.shape[1], top_n)
    cached = None
    if cache_folder is not None:
        key = _cache_key(units, cohort.vectors, num_cohort)
        cached = Path(cache_folder) / f"cohort_{cohort.fingerprint or 'any'}_{key}.npz"
        if cached.is_file():
            return CohortStatistics.load(cached)
    mean, std = np.empty(len(units)), np.empty(len(units))
    against = np.ascontiguousarray(cohort.vectors.T)
    with progress_bar(total=len(units), desc="Cohort", unit="clip", show=progress) as bar:
        for part in row_blocks(len(units), len(cohort.vectors), block_size):
            cosines = top_scores(units[part] @ against, num_cohort)
            mean[part], std[part] = cosines.mean(axis=1), cosines.std(axis=1)
            bar.update(part.stop - part.start)
    if not np.all(std > 1e-12):
        raise EvaluationError(
            f"Clip {int(np.argmin(std))} is equally like all {num_cohort} cohort clips it is "
            "compared with, so no spread can be measured; use a cohort of different speakers."
        )
    statistics = CohortStatistics(mean, std, num_cohort, cohort.fingerprint)
    if cached is not None:
        statistics.save(cached)
    return statistics


def _cohort_size(cohort: Cohort, embd_dim: int, top_n: int | None) -> int:
    num_cohort, cohort_dim = cohort.vectors.shape
    if cohort_dim != embd_dim:
        raise EvaluationError(
            f"The cohort has {cohort_dim} dimensions and the embeddings {embd_dim}; "
            "make both with one model."
        )
    if top_n is not None and top_n < 2:
        raise EvaluationError(f"AS-norm needs a top_n of at least 2; got {top_n}.")
    if top_n is not None and num_cohort < top_n:
        logger.warning(
            "The cohort has %d vectors, fewer than the top %d that AS-norm asks for; all of them "
            "are used, as in S-norm.",
            num_cohort,
            top_n,
        )
    return num_cohort if top_n is None else min(top_n, num_cohort)


def top_scores(cosines: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` highest of each row, in any order; the array is left in disorder."""
    if count == cosines.shape[1]:
        return cosines
    cosines.partition(cosines.shape[1] - count, axis=1)
    return cosines[:, -count:]


def _cache_key(units: np.ndarray, cohort: np.ndarray, num_cohort: int) -> str:
    digest = hashlib.blake2b(str((units.shape, cohort.shape, num_cohort)).encode(), digest_size=12)
    for array in (units, cohort):
        digest.update(array.dtype.str.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _save_npz(path: str | os.PathLike[str], **arrays: np.ndarray) -> None:
    with write_errors_as(EvaluationError, f"'{path}'"):
        write_npz(Path(path), arrays)


def _load_npz(path: str | os.PathLike[str], names: tuple[str, ...], kind: str) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError as error:
        raise CheckpointError(
            f"There is no {kind} in '{os.fspath(path)}': the file does not exist."
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"'{os.fspath(path)}' holds no {kind} or is damaged; delete it and run again."
        ) from error
