"""Voiceprints in memory: a matrix that follows the database change by change.

A person's voiceprint is the mean of the unit vectors of the clips, brought to unit length. Reading
a million of them row by row takes longer than a start should, so that a large matrix is also kept
as one file. It counts only if the database knows the token it was written with, and is then brought
up to date from the table ``changes``, as the matrix in memory is.
"""

from __future__ import annotations

import zlib

import numpy as np

from mvector.speakers.derived import REVISION, read_derived, revision_of, write_derived
from mvector.speakers.encryption import LibraryCipher
from mvector.speakers.people import get_meta
from mvector.speakers.store import Database, Store

_CACHED_PEOPLE = 20_000  # fewer are read from the tables in no time
_MAX_CHANGES = 50_000  # more, and everything is read again
_ROWS_AT_ONCE = 20_000


class Voiceprints:
    """Unit vectors of all people under one model, as of a revision of the database.

    Attributes:
        revision: of the database, up to which all is known.
        people: ``(rows,)`` int64, numbers of the people, ascending.
        matrix: ``(rows, dimensions)`` float32; zeros for somebody who was removed.
        is_removed: ``(rows,)`` bool: removed.
        damaged: clips whose embeddings were found to be damaged and left out.
    """

    def __init__(self, store: Store, fingerprint: str, dim: int, cipher: LibraryCipher):
        self._store, self._fingerprint, self._dim, self._cipher = store, fingerprint, dim, cipher
        self.damaged: set[int] = set()
        self._library = ""
        self.revision = self._saved = -1
        self._people: np.ndarray = np.zeros(0, np.int64)
        self._matrix: np.ndarray = np.zeros((0, dim), np.float32)
        self._is_removed: np.ndarray = np.zeros(0, dtype=bool)
        self._size = self._num_removed = 0

    def __len__(self) -> int:
        return self._size - self._num_removed

    @property
    def people(self) -> np.ndarray:
        """Numbers of the people."""
        return self._people[: self._size]

    @property
    def matrix(self) -> np.ndarray:
        """The unit vectors."""
        return self._matrix[: self._size]

    @property
    def is_removed(self) -> np.ndarray:
        """Rows of people who were removed."""
        return self._is_removed[: self._size]

    def refresh(self) -> None:
        """Catch up with the database."""
        if self._store.rows(REVISION) == [(self.revision,)]:
            return
        with self._store.snapshot() as database:
            revision = revision_of(database)
            library = get_meta(database, "library") or ""
            if library != self._library or revision < self.revision:
                self._library, self.revision = library, -1
            if self.revision < 0:
                self.revision = self._saved = self._load_file(database)
            query = "SELECT person FROM changes WHERE revision > ? LIMIT ?"
            arguments = (self.revision, _MAX_CHANGES + 1)
            people = sorted(person for (person,) in database.execute(query, arguments))
            if self.revision < 0 or len(people) > _MAX_CHANGES:
                self._replace_all(*self._read(database, "", ()))
                self._saved = -1
            else:
                self._apply_changes(database, np.array(people, dtype=np.int64))
            self.revision = revision

    def changed_since(self, revision: int) -> np.ndarray:
        """People whose voiceprints changed since a revision: ``(people,)`` int64, ascending."""
        query = "SELECT person FROM changes WHERE revision > ? ORDER BY person"
        return np.array(self._store.rows(query, (revision,)), dtype=np.int64).reshape(-1)

    def rows_of(self, people: np.ndarray) -> np.ndarray:
        """Rows of those people who have one, in the order given: ``(found,)``."""
        rows = np.searchsorted(self.people, people)
        rows = np.minimum(rows, max(self._size - 1, 0))
        return rows[self.people[rows] == people] if self._size else rows[:0]

    # ---- from the tables --------------------------------------------------------------------

    def _read(
        self, database: Database, where: str, arguments: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Voiceprints of those whom a condition selects: people, ascending, and unit vectors."""
        query = (
            f"SELECT clip, person, vector, checksum FROM embeddings WHERE fingerprint = ? {where}"
        )
        cursor = database.execute(query, (self._fingerprint, *arguments))
        people: list[np.ndarray] = []
        clips: list[np.ndarray] = []
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            good = [row for row in rows if self._is_intact(row)]
            blobs = [self._cipher.decrypt(row[2]) for row in good]
            vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self._dim)
            clips.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
            people.append(np.array([row[1] for row in good], dtype=np.int64))
        if not people:
            return np.zeros(0, np.int64), np.zeros((0, self._dim), np.float32)
        return mean_directions(np.concatenate(people), np.concatenate(clips))

    def _is_intact(self, row: tuple[int, int, bytes, int]) -> bool:
        clip, _, vector, checksum = row
        whole = isinstance(vector, bytes) and zlib.crc32(vector) == checksum
        if whole and not self._cipher.is_enabled:
            whole = len(vector) == 4 * self._dim
        if not whole:
            self.damaged.add(clip)
        return whole

    def _apply_changes(self, database: Database, people: np.ndarray) -> None:
        where = "AND person IN (SELECT person FROM changes WHERE revision > ?)"
        found, vectors = self._read(database, where, (self.revision,))
        gone = self.rows_of(np.setdiff1d(people, found))
        self._is_removed[gone] = True
        self._matrix[gone] = 0.0
        known = np.isin(found, self.people)
        rows = self.rows_of(found[known])
        self._matrix[rows] = vectors[known]
        self._is_removed[rows] = False
        self._num_removed = int(self.is_removed.sum())
        self._append(found[~known], vectors[~known])

    def _append(self, people: np.ndarray, vectors: np.ndarray) -> None:
        if not len(people):
            return
        end = self._size + len(people)
        if self._size and people[0] < self._people[self._size - 1]:
            # somebody who has been there for long, and had no voiceprint of this model
            order = np.argsort(np.concatenate([self.people, people]))
            is_removed = np.concatenate([self.is_removed, np.zeros(len(people), bool)])[order]
            matrix = np.concatenate([self.matrix, vectors])[order]
            self._replace_all(np.concatenate([self.people, people])[order], matrix)
            self._is_removed[:] = is_removed
            self._num_removed = int(is_removed.sum())
            return
        if end > len(self._people):
            capacity = end + end // 4 + 1024
            self._people = _with_capacity(self._people, self._size, capacity)
            self._matrix = _with_capacity(self._matrix, self._size, capacity)
            self._is_removed = _with_capacity(self._is_removed, self._size, capacity)
        self._people[self._size : end] = people
        self._matrix[self._size : end] = vectors
        self._is_removed[self._size : end] = False
        self._size = end

    def _replace_all(self, people: np.ndarray, matrix: np.ndarray) -> None:
        self._people, self._matrix, self._size = people, matrix, len(people)
        self._is_removed, self._num_removed = np.zeros(len(people), dtype=bool), 0

    # ---- as a file --------------------------------------------------------------------------

    def save(self) -> None:
        """Write the matrix to its file, if that is worth while and it is not there already."""
        if self._store.read_only or self._cipher.is_enabled or len(self) < _CACHED_PEOPLE:
            return
        if self._saved >= 0 and self.revision - self._saved < _CACHED_PEOPLE // 10:
            return
        people, matrix = self.people, self.matrix
        if self._num_removed:
            people, matrix = people[~self.is_removed], matrix[~self.is_removed]
        if write_derived(self._store, "cache", self._fingerprint, self.revision, people, matrix):
            self._saved = self.revision

    def _load_file(self, database: Database) -> int:
        """Take the matrix from its file; returns the revision that it is of, -1 for none."""
        if self._cipher.is_enabled:
            return -1
        found = read_derived(self._store, database, "cache", self._fingerprint)
        if found is None or len(found[2]) != 4 * self._dim * len(found[1]):
            return -1
        revision, people, payload = found
        self._replace_all(people, payload.view(np.float32).reshape(-1, self._dim))
        return revision


def mean_directions(person: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean direction of each person's unit vectors ``(clips, dimensions)``.

    Returns:
        Numbers of the people, ascending, and their unit vectors; zeros for opposite clips, which
        have no mean: such a person is like nobody.
    """
    if np.all(person[1:] > person[:-1]):
        return person, matrix
    order = np.argsort(person, kind="stable")
    person, matrix = person[order], matrix[order]
    starts = np.flatnonzero(np.r_[True, person[1:] != person[:-1]])
    means = np.add.reduceat(matrix, starts, axis=0)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    return person[starts], np.divide(means, norms, out=np.zeros_like(means), where=norms > 1e-6)


def _with_capacity(array: np.ndarray, size: int, capacity: int) -> np.ndarray:
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[:size] = array[:size]
    return larger
