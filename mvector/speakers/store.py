"""What the library asks of its store: tables in one of two databases, and transactions on them.

SQLite beside the folders of clips (:mod:`mvector.speakers.sqlite_store`), and PostgreSQL, which
many servers share (:mod:`mvector.speakers.postgres_store`). Both have the same tables, and all
other modules write SQL that both understand, with ``?`` for each argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

WRITE_WAIT_S = 30.0  # for others who write
ALL_ROWS = 2**62  # as the LIMIT of a query


class Database(Protocol):
    """A connection inside a transaction or snapshot."""

    def execute(self, query: str, arguments: Sequence[Any] = ..., /) -> Any:
        """One statement; the result has rows as tuples, to be fetched or iterated over."""

    def executemany(self, query: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """One statement for each of some rows of arguments."""


class Index(Protocol):
    """Voiceprints of one model that are searched in the database, for there are many."""

    def is_ready(self) -> bool:
        """Whether they are to be searched there."""

    def nearest(
        self, database: Database, query: np.ndarray, top_k: int, people: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The most similar of some people, or of all, best first.

        Args:
            database: a snapshot.
            query: unit vector ``(dimensions,)``.
            top_k: how many.
            people: ``(people,)``, numbers of those who are compared.

        Returns:
            Numbers ``(found,)``, cosines ``(found,)`` and voiceprints ``(found, dimensions)``.
        """

    def others(self, database: Database) -> tuple[np.ndarray, np.ndarray]:
        """Some people to be strangers to any other: numbers ``(others,)`` and voiceprints."""

    def make(self) -> None:
        """Make it, where it is needed and not there."""


class Store(Protocol):
    """Tables of a library; usable from any thread and after a fork.

    Attributes:
        name: of the library, as messages call it; holds no password.
        folder: whose clips are the truth; ``None`` where the database is.
        read_only: whether nothing can be changed.
        quality_columns: what to select of embeddings for the fields of ``SpeechQuality``.
    """

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path | None: ...

    @property
    def read_only(self) -> bool: ...

    @property
    def quality_columns(self) -> str: ...

    def transaction(
        self, *, wait_s: float = WRITE_WAIT_S, alone: bool = True
    ) -> AbstractContextManager[Database]:
        """All of the block's changes or none; nobody else writes to the library meanwhile.

        ``wait_s`` is how long to wait for one who does. Where only the audit is written, it need
        not be ``alone``, if the database knows how.

        Raises:
            LibraryError: the library is read-only, or cannot be written to.
        """

    def snapshot(self) -> AbstractContextManager[Database]:
        """The block's queries see one state of the library."""

    def rows(self, query: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query."""

    def erase_deleted(self) -> None:
        """Give back the space of what was deleted, as far as the database does not by itself."""

    def index(self, fingerprint: str, dim: int) -> Index | None:
        """The voiceprints of a model in the database; ``None`` where memory holds them all."""

    def close(self) -> None:
        """Give the connections back."""
