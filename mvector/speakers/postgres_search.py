"""Voiceprints searched in PostgreSQL: by an HNSW index, whose candidates are scored exactly.

Up to :data:`EXACT_PEOPLE` each process has all voiceprints in memory, as it has those of SQLite,
and compares them exactly. More are searched in the database, so that no process has to hold them.
The index is over float16 and of one model; it is made when the library is opened for writing. Who
is in given groups, and a single person, are always compared exactly.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from typing import TYPE_CHECKING

import numpy as np

from mvector.errors import LibraryError
from mvector.scoring.strangers import MAX_OWN
from mvector.speakers.derived import revision_of
from mvector.speakers.store import Database

if TYPE_CHECKING:
    from mvector.speakers.postgres_store import PostgresStore

logger = logging.getLogger(__name__)

EXACT_PEOPLE = 100_000  # up to here all are compared exactly, in memory
_CANDIDATES = 200  # of the index, which are then scored exactly
_EFFORT = 1000  # voiceprints that a walk through the index keeps in sight, the most there can be
_LOOK_AGAIN_S = 10.0  # whether there is an index by now
_MOST_MEMORY_MB = 4096  # for making an index; with less than it needs, that takes many times longer
_PLAIN = re.compile(r"[\w.+-]+")


class PostgresIndex:
    """Voiceprints of one model in the database; see :class:`mvector.speakers.store.Index`."""

    def __init__(self, store: PostgresStore, fingerprint: str, dim: int) -> None:
        self._store, self._fingerprint, self._dim = store, fingerprint, dim
        digest = hashlib.sha256(f"{fingerprint} {dim}".encode()).hexdigest()
        self._name = f"voiceprints_near_{digest[:12]}"
        self._is_there, self._looked_at = False, -np.inf
        self._revision = -1
        self._others = np.zeros(0, np.int64), np.zeros((0, dim), np.float32)

    def is_ready(self) -> bool:
        """Whether there is an index, and so more people than are held in memory."""
        if time.monotonic() > self._looked_at + _LOOK_AGAIN_S:
            query = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(?) AND indisvalid"
            self._is_there = bool(self._store.rows(query, (self._name,)))
            self._looked_at = time.monotonic()
        return self._is_there

    def nearest(
        self, database: Database, query: np.ndarray, top_k: int, people: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The most similar people, of some or of all: numbers, cosines and voiceprints."""
        select = "SELECT person, voiceprint FROM voiceprints WHERE fingerprint ="
        exactly = f"ORDER BY (voiceprint <#> ?) + 0 LIMIT {top_k}"  # not in the order of the index
        if people is not None:
            values = (self._fingerprint, people.tolist(), query)
            rows = database.execute(f"{select} ? AND person = ANY(?) {exactly}", values)
        elif 2 * top_k > _EFFORT:
            rows = database.execute(f"{select} ? {exactly}", (self._fingerprint, query))
        else:
            database.execute(f"SET LOCAL hnsw.ef_search = {_EFFORT}")
            near = f"voiceprint::halfvec({self._dim}) <#> ?::vector::halfvec({self._dim})"
            count = max(_CANDIDATES, 2 * top_k)
            ordered = f"'{self._fingerprint}' ORDER BY {near} LIMIT {count}"
            rows = database.execute(f"{select} {ordered}", (query,))
        numbers, vectors = _unpacked(rows.fetchall(), self._dim)
        scores = vectors @ query
        best = np.lexsort((numbers, -scores))[:top_k]
        return numbers[best], scores[best], vectors[best]

    def others(self, database: Database) -> tuple[np.ndarray, np.ndarray]:
        """A few hundred people, drawn by lot, the same for all: numbers and voiceprints."""
        revision = revision_of(database)
        if revision != self._revision:
            query = """SELECT person, voiceprint FROM voiceprints WHERE fingerprint = ?
                ORDER BY hashint8(person) LIMIT ?"""
            rows = database.execute(query, (self._fingerprint, MAX_OWN)).fetchall()
            self._others, self._revision = _unpacked(rows, self._dim), revision
        return self._others

    def make(self) -> None:
        """Make the index, if there are more people than are held in memory, and no other does."""
        query = """SELECT count(*) FROM
            (SELECT 1 FROM voiceprints WHERE fingerprint = ? LIMIT ?) AS counted"""
        ((count,),) = self._store.rows(query, (self._fingerprint, EXACT_PEOPLE + 1))
        if count <= EXACT_PEOPLE or self.is_ready() or not _PLAIN.fullmatch(self._fingerprint):
            return
        estimate = "SELECT reltuples FROM pg_class WHERE oid = 'voiceprints'::regclass"
        try:
            with self._store.alone("index") as connection:
                if connection is None:
                    return
                old = connection.execute(
                    "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() "
                    "AND indexname LIKE 'voiceprints_near_%'"
                ).fetchall()
                for (name,) in old:  # of a model before, or of a process that was killed
                    connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                connection.execute("ANALYZE voiceprints")
                (size,) = connection.execute(estimate).fetchone() or (0,)
                logger.info("Indexing %d voiceprints of '%s' …", size, self._store.name)
                memory = int(size) * (2 * self._dim + 1000) // 2**20
                memory = min(max(memory, 64), _MOST_MEMORY_MB)
                connection.execute(f"SET maintenance_work_mem = '{memory}MB'")
                connection.execute(
                    f"CREATE INDEX CONCURRENTLY {self._name} ON voiceprints USING hnsw "
                    f"((voiceprint::halfvec({self._dim})) halfvec_ip_ops) "
                    f"WHERE fingerprint = '{self._fingerprint}'"
                )
        except LibraryError as error:
            logger.warning("People are compared in memory, for there is no index: %s", error)
        self._looked_at = -np.inf


def _unpacked(rows: list[tuple[int, object]], dim: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.array([number for number, _ in rows], dtype=np.int64)
    vectors = [vector.to_numpy() for _, vector in rows]  # type: ignore[attr-defined]
    return numbers, np.array(vectors, dtype=np.float32).reshape(len(rows), dim)
