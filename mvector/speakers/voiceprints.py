"""Voiceprints in memory: a matrix that follows the database change by change.

A person's voiceprint is the mean of the unit vectors of the clips, brought to unit length. Reading
a million of them row by row takes longer than a start should, so that a large matrix is also kept
as one file. It counts only if the database knows the token it was written with, and is then brought
up to date from the table ``changes``, as the matrix in memory is.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import uuid
import zlib
from pathlib import Path

import numpy as np

from mvector.speakers.clip_files import DERIVED
from mvector.speakers.people import get_meta, set_meta
from mvector.speakers.sealing import Sealer
from mvector.speakers.store import Store

logger = logging.getLogger(__name__)

_CACHED_PEOPLE = 20_000  # fewer are read from the tables in no time
_MOST_CHANGES = 50_000  # more, and everything is read again
_ROWS_AT_ONCE = 20_000
_HEADER = struct.Struct("<8s32sqqqI")  # magic, token, revision, people, dimensions, CRC-32
_MAGIC = b"mvprints"


class Voiceprints:
    """Unit vectors of all people under one model, as of a revision of the database.

    Attributes:
        people: ``(rows,)`` int64, numbers of the people, ascending.
        matrix: ``(rows, dimensions)`` float32; zeros for somebody who was removed.
        is_dead: ``(rows,)`` bool: removed.
        changed: numbers of the people whose rows changed since all was read or indexed.
        damaged: clips whose embeddings were found to be damaged and left out.
    """

    def __init__(self, store: Store, folder: Path, fingerprint: str, dim: int, sealer: Sealer):
        self._store, self._fingerprint, self._dim, self._sealer = store, fingerprint, dim, sealer
        self._file = folder / DERIVED["cache"]
        self.changed: set[int] = set()
        self.damaged: set[int] = set()
        self._library = ""
        self._revision = self._saved_revision = -1
        self._people: np.ndarray = np.zeros(0, np.int64)
        self._matrix: np.ndarray = np.zeros((0, dim), np.float32)
        self._is_dead: np.ndarray = np.zeros(0, dtype=bool)
        self._size = self._num_dead = 0

    def __len__(self) -> int:
        return self._size - self._num_dead

    @property
    def people(self) -> np.ndarray:
        """Numbers of the people."""
        return self._people[: self._size]

    @property
    def matrix(self) -> np.ndarray:
        """The unit vectors."""
        return self._matrix[: self._size]

    @property
    def is_dead(self) -> np.ndarray:
        """Rows of people who were removed."""
        return self._is_dead[: self._size]

    def refresh(self) -> None:
        """Catch up with the database.

        Raises:
            LibraryError: the database cannot be read.
        """
        with self._store.snapshot() as database:
            revision = revision_of(database)
            if revision == self._revision:
                return
            library = get_meta(database, "library") or ""
            if library != self._library or revision < self._revision:
                self._library, self._revision = library, -1
            if self._revision < 0:
                self._revision = self._saved_revision = self._load_file(database)
            query = "SELECT person FROM changes WHERE revision > ? LIMIT ?"
            arguments = (self._revision, _MOST_CHANGES + 1)
            people = sorted(person for (person,) in database.execute(query, arguments))
            if self._revision < 0 or len(people) > _MOST_CHANGES:
                self._set(*self._read(database, "", ()))
                self.changed.clear()
                self._saved_revision = -1
            else:
                self._update(database, np.array(people, dtype=np.int64))
            self._revision = revision

    def rows_of(self, people: np.ndarray) -> np.ndarray:
        """Rows of those people who have one, in the order given: ``(found,)``."""
        rows = np.searchsorted(self.people, people)
        rows = np.minimum(rows, max(self._size - 1, 0))
        return rows[self.people[rows] == people] if self._size else rows[:0]

    # ---- from the tables --------------------------------------------------------------------

    def _read(
        self, database: sqlite3.Connection, where: str, arguments: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Voiceprints of those whom a condition selects: people, ascending, and unit vectors."""
        query = (
            f"SELECT clip, person, vector, checksum FROM embeddings WHERE fingerprint = ? {where}"
        )
        cursor = database.execute(query, (self._fingerprint, *arguments))
        people: list[np.ndarray] = []
        clips: list[np.ndarray] = []
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            good = [row for row in rows if self._is_whole(row)]
            blobs = [self._sealer.unseal(row[2]) for row in good]
            vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self._dim)
            clips.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
            people.append(np.array([row[1] for row in good], dtype=np.int64))
        if not people:
            return np.zeros(0, np.int64), np.zeros((0, self._dim), np.float32)
        person, matrix = np.concatenate(people), np.concatenate(clips)
        if np.all(person[1:] > person[:-1]):
            return person, matrix
        order = np.argsort(person, kind="stable")
        person, matrix = person[order], matrix[order]
        starts = np.flatnonzero(np.r_[True, person[1:] != person[:-1]])
        means = np.add.reduceat(matrix, starts, axis=0)
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        # opposite clips have no mean; such a person is like nobody
        return person[starts], np.divide(means, norms, out=np.zeros_like(means), where=norms > 1e-6)

    def _is_whole(self, row: tuple[int, int, bytes, int]) -> bool:
        clip, _, vector, checksum = row
        whole = isinstance(vector, bytes) and zlib.crc32(vector) == checksum
        if whole and not self._sealer.is_on:
            whole = len(vector) == 4 * self._dim
        if not whole:
            self.damaged.add(clip)
        return whole

    def _update(self, database: sqlite3.Connection, people: np.ndarray) -> None:
        where = "AND person IN (SELECT person FROM changes WHERE revision > ?)"
        found, vectors = self._read(database, where, (self._revision,))
        self.changed.update(people.tolist())
        gone = self.rows_of(np.setdiff1d(people, found))
        self._is_dead[gone] = True
        self._matrix[gone] = 0.0
        known = np.isin(found, self.people)
        rows = self.rows_of(found[known])
        self._matrix[rows] = vectors[known]
        self._is_dead[rows] = False
        self._num_dead = int(self.is_dead.sum())
        self._append(found[~known], vectors[~known])

    def _append(self, people: np.ndarray, vectors: np.ndarray) -> None:
        if not len(people):
            return
        end = self._size + len(people)
        if self._size and people[0] < self._people[self._size - 1]:
            # somebody who has been there for long, and had no voiceprint of this model
            order = np.argsort(np.concatenate([self.people, people]))
            is_dead = np.concatenate([self.is_dead, np.zeros(len(people), bool)])[order]
            matrix = np.concatenate([self.matrix, vectors])[order]
            self._set(np.concatenate([self.people, people])[order], matrix)
            self._is_dead[:] = is_dead
            self._num_dead = int(is_dead.sum())
            return
        if end > len(self._people):
            capacity = end + end // 4 + 1024
            self._people = _grown(self._people, self._size, capacity)
            self._matrix = _grown(self._matrix, self._size, capacity)
            self._is_dead = _grown(self._is_dead, self._size, capacity)
        self._people[self._size : end] = people
        self._matrix[self._size : end] = vectors
        self._is_dead[self._size : end] = False
        self._size = end

    def _set(self, people: np.ndarray, matrix: np.ndarray) -> None:
        self._people, self._matrix, self._size = people, matrix, len(people)
        self._is_dead, self._num_dead = np.zeros(len(people), dtype=bool), 0

    # ---- as a file --------------------------------------------------------------------------

    def save(self) -> None:
        """Write the matrix to its file, if that is worth while and it is not there already.

        Raises:
            LibraryError: it cannot be written.
        """
        if self._store.read_only or self._sealer.is_on or len(self) < _CACHED_PEOPLE:
            return
        if (
            self._saved_revision >= 0
            and self._revision - self._saved_revision < _CACHED_PEOPLE // 10
        ):
            return
        with self._store.transaction() as database:
            if revision_of(database) != self._revision:
                return  # another process is at work; the next to close will have it all
            alive = ~self.is_dead
            people, matrix = self.people, self.matrix
            if self._num_dead:
                people, matrix = people[alive], matrix[alive]
            token = uuid.uuid4().hex
            checksum = _checksum(people, matrix)
            header = _HEADER.pack(
                _MAGIC, token.encode(), self._revision, len(people), self._dim, checksum
            )
            write_private(self._file, [header, people.data, matrix.data])
            set_meta(database, "cache", f"{token}:{self._fingerprint}")
        self._saved_revision = self._revision

    def _load_file(self, database: sqlite3.Connection) -> int:
        """Take the matrix from its file; returns the revision that it is of, -1 for none."""
        known = get_meta(database, "cache")
        if known is None or self._sealer.is_on:
            return -1
        try:
            with open(self._file, "rb") as stream:
                header = _HEADER.unpack(stream.read(_HEADER.size))
                magic, token, revision, count, dim, checksum = header
                expected = _HEADER.size + count * (8 + 4 * dim)
                is_ours = (magic, f"{token.decode()}:{self._fingerprint}") == (_MAGIC, known)
                if not is_ours or dim != self._dim or expected != os.fstat(stream.fileno()).st_size:
                    return -1
                people = np.empty(count, dtype=np.int64)
                matrix = np.empty((count, dim), dtype=np.float32)
                stream.readinto(people.data)
                stream.readinto(matrix.data.cast("B"))
        except (OSError, struct.error, UnicodeDecodeError):
            return -1
        if _checksum(people, matrix) != checksum:
            logger.warning("'%s' is damaged; the tables are read instead.", self._file)
            return -1
        self._set(people, matrix)
        self.changed.clear()
        return int(revision)


def revision_of(database: sqlite3.Connection) -> int:
    """A number that grows with every change of an embedding."""
    (revision,) = database.execute("SELECT max(revision) FROM changes").fetchone()
    return int(revision or 0)


def write_private(path: Path, parts: list[bytes | memoryview]) -> None:
    """Write a file that its owner alone can read; it appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(people: np.ndarray, matrix: np.ndarray) -> int:
    return zlib.crc32(matrix.data, zlib.crc32(people.data))


def _grown(array: np.ndarray, size: int, capacity: int) -> np.ndarray:
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[:size] = array[:size]
    return larger
