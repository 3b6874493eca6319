"""Where a library in a database keeps its clips: decided once, and the same for all servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mvector.errors import LibraryError
from mvector.speakers import people
from mvector.speakers.clip_objects import ClipObjects
from mvector.speakers.objects import SCHEME
from mvector.speakers.obstacles import Obstacles
from mvector.speakers.store import Database
from mvector.speakers.stored_clips import ClipFiles, ClipRows, Clips

if TYPE_CHECKING:  # it brings psycopg
    from mvector.speakers.postgres_store import PostgresStore

_KEY = "clips"  # in ``meta``: the place; empty where it is the database


def clips_of_database(store: PostgresStore, wanted: str | None, obstacles: Obstacles) -> Clips:
    """The clips of a library, at ``wanted`` (folder or ``s3://bucket/prefix``) or where it says.

    The first opening that may write decides.

    Raises:
        LibraryError: the clips of the library are elsewhere, or the place cannot be written to.
    """
    try:
        with store.snapshot() as database:
            library = people.get_meta(database, "library") or ""
            known = _known_place(database, wanted)
        place = (wanted or "") if known is None else known
        _require_same(store, wanted, place)
        clips = _clips_at(store, place, library, obstacles)
        if known is None and not store.read_only:
            if not isinstance(clips, ClipRows):
                clips.claim()
            with store.transaction() as database:
                query = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING"
                database.execute(query, (_KEY, place))
                agreed = people.get_meta(database, _KEY) or ""
            if agreed != place:  # another server was first
                _require_same(store, place, agreed)
    except LibraryError:
        store.close()
        raise
    return clips


def _clips_at(store: PostgresStore, place: str, library: str, obstacles: Obstacles) -> Clips:
    if not place:
        return ClipRows(store)
    if place.startswith(SCHEME):
        return ClipObjects(store, place, library, obstacles)
    return ClipFiles(store, Path(place), obstacles, library)


def _known_place(database: Database, wanted: str | None) -> str | None:
    """What the library says; one that is older than that it does, what can be told of its clips."""
    place = people.get_meta(database, _KEY)
    if place is not None:
        return place
    if database.execute("SELECT 1 FROM audio LIMIT 1").fetchone():
        return ""
    query = "SELECT 1 FROM clips WHERE file LIKE '%/%' LIMIT 1"
    if wanted is None and database.execute(query).fetchone():
        raise LibraryError("The clips of this library are in a folder: name it by clips= once.")
    return None


def _require_same(store: PostgresStore, wanted: str | None, place: str) -> None:
    if wanted is not None and wanted != place:
        where = f"in '{place}'" if place else "in its database"
        raise LibraryError(
            f"The library '{store.name}' keeps its clips {where}: leave clips= out, or copy it to "
            "a new schema with another place by mvector library copy."
        )
