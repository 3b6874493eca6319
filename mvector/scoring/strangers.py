"""How alike a voice is to strangers: what a score is judged beside.

A clip that resembles everybody, for its channel, its noise or its language, resembles the person
compared with for the same reason. Score normalisation takes that off the score; here it is a
measure of each side, which a calibration weighs beside the others. There are two kinds of
strangers: those that come with a model, and the user's own, recorded as the clips at hand are.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import CheckpointError, EvaluationError
from mvector.files import write_errors_as, write_npz
from mvector.scoring.blocks import row_blocks
from mvector.scoring.cohort import Cohort, top_scores
from mvector.scoring.lda import length_normalise

if TYPE_CHECKING:  # it brings pydantic, which reading a library does without
    from mvector.models.description import ModelInfo

#: The two kinds in a model folder.
COHORT, OWN_COHORT = "cohort.npz", "own_cohort.npz"

#: How many of a model's strangers count, those most alike to a clip.
TOP_N = 300
#: From so many of the user's own strangers on, likeness to them tells something.
MIN_OWN = 5
#: More of them are not compared: the mean does not change, and verdicts stay quick.
MAX_OWN = 500

_FORMAT_VERSION = 1
_MAX_BYTES = 2_000_000
_BLOCK_SIZE = 8_388_608  # most cosines held at a time


def likeness(embeddings: ArrayLike, cohort: Cohort, *, top_n: int = TOP_N) -> np.ndarray:
    """Mean cosine of each embedding to those of a cohort that are most alike to it.

    Args:
        embeddings: float ``(N, D)``.
        cohort: the strangers; the cosines are computed in the type of its vectors.
        top_n: how many of them count; a smaller cohort counts whole.

    Returns:
        float64 ``(N,)``.

    Raises:
        EvaluationError: an embedding is zero or not finite, or of another size than the cohort's.
    """
    units = length_normalise(np.asarray(embeddings, np.float64)).astype(cohort.vectors.dtype)
    if units.shape[1] != cohort.vectors.shape[1]:
        raise EvaluationError(
            f"The cohort has {cohort.vectors.shape[1]} dimensions and the embeddings "
            f"{units.shape[1]}; make both with one model."
        )
    means, count = np.empty(len(units)), min(top_n, len(cohort.vectors))
    for part in row_blocks(len(units), len(cohort.vectors), _BLOCK_SIZE):
        cosines = units[part] @ cohort.vectors.T
        means[part] = top_scores(cosines, count).mean(axis=1, dtype=np.float64)
    return means


def own_likeness(
    embeddings: ArrayLike, strangers: np.ndarray, left_out: np.ndarray | None = None
) -> np.ndarray:
    """Trimmed mean cosine of each embedding to the user's own strangers.

    The most alike tenth of them, and at least one, is left out: who is enrolled under two names
    would be a stranger to themselves.

    Args:
        embeddings: float ``(N, D)``.
        strangers: unit vectors ``(M, D)``, one for each person.
        left_out: bool ``(N, M)``, True where a person is no stranger to a clip: the one that it is
            compared with.

    Returns:
        float64 ``(N,)``; NaN where fewer than :data:`MIN_OWN` strangers are left.

    Raises:
        EvaluationError: an embedding is zero or not finite.
    """
    units = length_normalise(np.asarray(embeddings, np.float64))
    cosines = units @ strangers.T.astype(np.float64)
    num_strangers = np.full(len(units), len(strangers))
    if left_out is not None:
        cosines[left_out] = np.inf  # behind all others
        num_strangers -= left_out.sum(axis=1)
    is_known = num_strangers >= MIN_OWN
    means = np.full(len(units), np.nan)
    sums = np.cumsum(np.sort(cosines[is_known], axis=1), axis=1)
    last = num_kept(num_strangers[is_known])
    means[is_known] = sums[np.arange(len(sums)), last - 1] / last
    return means


def num_kept(num_strangers: np.ndarray) -> np.ndarray:
    """How many of so many own strangers count: the most alike tenth, at least one, does not."""
    return np.maximum(num_strangers - np.maximum(1, num_strangers // 10), 0)


@dataclass(frozen=True)
class Strangers:
    """The strangers of a model folder, each kind read when it is first needed.

    Attributes:
        folder: that may hold them; ``None`` for a model that is in none.
        fingerprint: of the model.
        own_folder: that may hold the user's own, if it is another one.
    """

    folder: Path | None
    fingerprint: str = ""
    own_folder: Path | None = None

    @classmethod
    def of_model(cls, info: ModelInfo | None) -> Strangers:
        """Those beside a model that was read from its folder."""
        if info is None:
            return cls(None)
        # it brings pydantic, which reading a library does without
        from mvector.models.adaptation import adaptation_folder

        return cls(info.folder, info.fingerprint, adaptation_folder(info))

    @cached_property
    def cohort(self) -> Cohort | None:
        """The strangers that come with the model, if any; errors as :func:`load_cohort`."""
        return None if self.folder is None else load_cohort(self.folder, self.fingerprint)

    @cached_property
    def own(self) -> Cohort | None:
        """The user's own, if there are enough; errors as :func:`load_own_cohort`."""
        folder = self.own_folder or self.folder
        return None if folder is None else load_own_cohort(folder, self.fingerprint)

    def likeness(self, embeddings: ArrayLike) -> np.ndarray:
        """:func:`likeness` to those of the model: ``(N,)``, NaN where there are none."""
        if self.cohort is None:
            return np.full(len(np.asarray(embeddings)), np.nan)
        return likeness(embeddings, self.cohort)

    def own_likeness(self, embeddings: ArrayLike) -> np.ndarray:
        """:func:`own_likeness` to the user's own: ``(N,)``, NaN where there are too few."""
        if self.own is None:
            return np.full(len(np.asarray(embeddings)), np.nan)
        return own_likeness(embeddings, self.own.vectors)


def save_cohort(folder: str | os.PathLike[str], vectors: ArrayLike, fingerprint: str) -> None:
    """Write the strangers that come with a model into its folder.

    Args:
        folder: of the model.
        vectors: float ``(N, D)``, embeddings of clips or speakers; their directions are kept, as
            float16.
        fingerprint: of the model, as its description has it.

    Raises:
        EvaluationError: an embedding is zero or not finite, or they take more than 2 MB.
        CheckpointError: the file cannot be written.
    """
    _save(Path(folder) / COHORT, vectors, fingerprint)


def load_cohort(folder: str | os.PathLike[str], fingerprint: str) -> Cohort | None:
    """What :func:`save_cohort` wrote, as float32; ``None`` if the folder holds none.

    Raises:
        CheckpointError: the file is damaged, of another model or of a newer version.
    """
    return _load(Path(folder) / COHORT, fingerprint)


def save_own_cohort(folder: str | os.PathLike[str], vectors: ArrayLike, fingerprint: str) -> None:
    """Write the user's own strangers, as :func:`save_cohort` does those of the model.

    ``vectors`` has one row for each person, whose names are not kept; of more than
    :data:`MAX_OWN` people so many are, evenly chosen.
    """
    people = np.asarray(vectors)
    _save(Path(folder) / OWN_COHORT, people[evenly_chosen(len(people))], fingerprint)


def load_own_cohort(folder: str | os.PathLike[str], fingerprint: str) -> Cohort | None:
    """What :func:`save_own_cohort` wrote; ``None`` also where it is fewer than :data:`MIN_OWN`.

    Raises:
        CheckpointError: as :func:`load_cohort`.
    """
    own = _load(Path(folder) / OWN_COHORT, fingerprint)
    return None if own is None or len(own.vectors) < MIN_OWN else own


def evenly_chosen(num_people: int) -> np.ndarray:
    """Which of so many people are compared with as own strangers: at most :data:`MAX_OWN`."""
    count = min(num_people, MAX_OWN)
    return np.arange(count) * num_people // max(count, 1)


def _save(file: Path, vectors: ArrayLike, fingerprint: str) -> None:
    units = length_normalise(np.asarray(vectors, np.float64), name="cohort embedding")
    half = units.astype(np.float16)
    if half.nbytes > _MAX_BYTES:
        raise EvaluationError(
            f"{len(half):,} cohort embeddings take {half.nbytes / 1e6:.1f} MB; give at most "
            f"{_MAX_BYTES // (2 * half.shape[1]):,} of this size."
        )
    arrays = {"format_version": np.array(_FORMAT_VERSION), "fingerprint": np.array(fingerprint)}
    with write_errors_as(CheckpointError, f"'{file}'"):
        write_npz(file, {**arrays, "vectors": half})


def _load(file: Path, fingerprint: str) -> Cohort | None:
    if not os.path.lexists(file):
        return None
    try:
        with zipfile.ZipFile(file) as stored:  # it may come from a stranger
            if sum(entry.file_size for entry in stored.infolist()) > 2 * _MAX_BYTES:
                raise ValueError
        with np.load(file, allow_pickle=False) as arrays:
            version, found = int(arrays["format_version"]), str(arrays["fingerprint"])
            if version != _FORMAT_VERSION:
                raise CheckpointError(
                    f"'{file}' has format version {version}, this mvector reads "
                    f"{_FORMAT_VERSION}; update mvector."
                )
            vectors = arrays["vectors"]
        if vectors.dtype != np.float16:
            raise ValueError
        units = length_normalise(vectors.astype(np.float32))
    except CheckpointError:
        raise
    except (
        *(OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error, EvaluationError),
    ) as error:
        raise CheckpointError(
            f"'{file}' is damaged; copy the whole model folder again, or delete this file.",
            code="checkpoint-damaged",
        ) from error
    if found != fingerprint:
        raise CheckpointError(
            f"The strangers in '{file}' belong to model {found or 'unknown'}, not to "
            f"{fingerprint}; delete the file, or copy the whole folder of one model.",
            code="model-mismatch",
        )
    return Cohort(units, found)
