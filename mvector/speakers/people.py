"""Rows of the library: people, their clips, embeddings, groups and metadata.

Functions that take a connection run inside a transaction or snapshot of their caller.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError, shorten_list
from mvector.speakers.encryption import LibraryCipher
from mvector.speakers.names import checked_groups, encode_metadata, folder_key, normalise_name
from mvector.speakers.store import ALL_ROWS, Database

logger = logging.getLogger(__name__)

_NAMES_TOLD = 10
_VALUES_AT_ONCE = 500  # in one statement
_UNKNOWN = (None,) * len(SpeechQuality._fields)
_INSERT_PERSON = (
    "INSERT INTO people (name, enrolled_at, folder_key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
)
_INSERT_EMBEDDING = (
    "INSERT INTO embeddings (clip, person, fingerprint, vector, checksum, "
    f"{', '.join(SpeechQuality._fields)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Person:
    """Somebody who is enrolled.

    Attributes:
        name: as it is stored.
        num_clips: how many clips the voiceprint is made of.
        groups: in alphabetical order.
        metadata: whatever the caller wants to know of the person.
        enrolled_at: of the first clip; ISO 8601, UTC.
        has_voiceprint: whether the model in use can recognise the person; not so where a model was
            replaced and there is no audio to compute another voiceprint from.
    """

    name: str
    num_clips: int
    groups: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    enrolled_at: str = ""
    has_voiceprint: bool = True


def utc_now() -> str:
    """The time, as the tables have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def get_meta(database: Database, key: str) -> str | None:
    """A value of the table ``meta``."""
    row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(database: Database, key: str, value: str) -> None:
    """Write a value of the table ``meta``."""
    query = """INSERT INTO meta VALUES (?, ?)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value"""
    database.execute(query, (key, value))


def ensure_person(database: Database, name: str) -> int:
    """The number of a person, who is made if there is none of that name."""
    database.execute(_INSERT_PERSON, (name, utc_now(), folder_key(name)))
    return int(database.execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()[0])


def ensure_people(database: Database, names: Sequence[str]) -> list[int]:
    """The same of many, in the order of their names, which may come more than once."""
    at = utc_now()
    wanted = list(dict.fromkeys(names))
    database.executemany(_INSERT_PERSON, [(name, at, folder_key(name)) for name in wanted])
    numbers: dict[str, int] = {}
    for some in in_portions(wanted):
        query = f"SELECT name, id FROM people WHERE name IN ({places_for(some)})"
        numbers.update(database.execute(query, some).fetchall())
    return [numbers[name] for name in names]


def write_person(
    database: Database, name: str, metadata: str, enrolled_at: str, groups: Sequence[str]
) -> int:
    """A person as another library has it, ``metadata`` as the tables do; returns the number."""
    person = ensure_person(database, name)
    query = "UPDATE people SET metadata = ?, enrolled_at = ? WHERE id = ?"
    database.execute(query, (metadata, enrolled_at, person))
    set_groups(database, person, groups, keep=True)
    return person


def find_person(database: Database, name: str) -> int:
    """The number of a person.

    Raises:
        LibraryError: there is nobody of that name.
    """
    name = normalise_name(name)
    row = database.execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    query = "SELECT name FROM people ORDER BY name LIMIT ?"
    names = [other for (other,) in database.execute(query, (_NAMES_TOLD + 1,))]
    if len(names) > _NAMES_TOLD:
        names = [*names[:_NAMES_TOLD], "…"]
    raise LibraryError(
        f"'{name}' is not in the library; it holds: {', '.join(names) or 'nobody'}.",
        code="speaker-not-found",
    )


def insert_clip(
    database: Database, person: int, file: str | None, sha256: str | None, stamp: str = ""
) -> int:
    """Add a clip of a person, or replace what is known of the file; returns its number."""
    query = """INSERT INTO clips (person, file, sha256, stamp, added_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (file) DO UPDATE SET person = excluded.person, sha256 = excluded.sha256,
        stamp = excluded.stamp RETURNING id"""
    row = database.execute(query, (person, file, sha256, stamp, utc_now())).fetchone()
    return int(row[0])


def insert_clips_without_audio(database: Database, people: Sequence[int]) -> list[int]:
    """Add a clip of each person, while nobody else writes; returns the numbers of the clips."""
    (last,) = database.execute("SELECT coalesce(max(id), 0) FROM clips").fetchone()
    query = "INSERT INTO clips (person, added_at) VALUES (?, ?)"
    at = utc_now()
    database.executemany(query, [(person, at) for person in people])
    query = "SELECT id FROM clips WHERE id > ? ORDER BY id"
    return [clip for (clip,) in database.execute(query, (last,))]


def insert_embeddings(
    database: Database,
    clips: Sequence[int],
    people: Sequence[int],
    fingerprint: str,
    embeddings: np.ndarray,
    quality: Sequence[SpeechQuality | None],
    cipher: LibraryCipher,
) -> None:
    """Add the embeddings ``(clips, embd_dim)`` of new clips under a model."""
    vectors = [cipher.encrypt(row.tobytes()) for row in embeddings.astype("<f4")]
    database.executemany(
        _INSERT_EMBEDDING,
        [
            (clip, person, fingerprint, vector, zlib.crc32(vector), *(known or _UNKNOWN))
            for clip, person, vector, known in zip(clips, people, vectors, quality, strict=True)
        ],
    )


def insert_embedding(
    database: Database,
    clip: int,
    person: int,
    fingerprint: str,
    embedding: np.ndarray,
    quality: SpeechQuality | None,
    cipher: LibraryCipher,
) -> None:
    """Add the embedding of a clip under a model, or replace it; the quality only if it is known."""
    vector = cipher.encrypt(embedding.astype("<f4").tobytes())
    insert_stored_embedding(database, clip, person, fingerprint, vector, quality or _UNKNOWN)


def insert_stored_embedding(
    database: Database,
    clip: int,
    person: int,
    fingerprint: str,
    vector: bytes,
    quality: Sequence[float | None],
) -> None:
    """The same of a vector as it is stored, and whatever is known of the quality."""
    database.execute(
        "DELETE FROM embeddings WHERE clip = ? AND fingerprint = ?", (clip, fingerprint)
    )
    values = (clip, person, fingerprint, vector, zlib.crc32(vector), *quality)
    database.execute(_INSERT_EMBEDDING, values)


def delete_person(database: Database, person: int) -> int:
    """Delete a person; the files are listed for deletion, and copies of voiceprints given up.

    Returns:
        How many clips the person had.
    """
    query = """INSERT INTO removals SELECT file FROM clips WHERE person = ? AND file IS NOT NULL
        ON CONFLICT DO NOTHING"""
    database.execute(query, (person,))
    query = "SELECT count(*) FROM clips WHERE person = ?"
    (num_clips,) = database.execute(query, (person,)).fetchone()
    database.execute("DELETE FROM people WHERE id = ?", (person,))
    invalidate_derived_files(database)
    return int(num_clips)


def invalidate_derived_files(database: Database) -> None:
    """Give up what repeats embeddings outside of the tables, and ask for space to be erased."""
    database.execute("DELETE FROM meta WHERE key IN ('cache', 'index')")
    set_meta(database, "erase", "1")


def delete_people_without_clips(database: Database) -> list[str]:
    """Delete those who have no clips left; returns their names."""
    query = "DELETE FROM people WHERE id NOT IN (SELECT person FROM clips) RETURNING name"
    return [name for (name,) in database.execute(query).fetchall()]


def set_metadata(
    database: Database, person: int, metadata: Mapping[str, Any], *, keep: bool
) -> None:
    """Write a person's metadata; ``keep`` leaves the keys that are not named as they are."""
    if keep:
        query = "SELECT metadata FROM people WHERE id = ?"
        known = decode_metadata(database.execute(query, (person,)).fetchone()[0])
        metadata = {**known, **metadata}
    text = encode_metadata(metadata)
    database.execute("UPDATE people SET metadata = ? WHERE id = ?", (text, person))


def set_groups(database: Database, person: int, groups: Sequence[str], *, keep: bool) -> None:
    """Write whose member a person is; ``keep`` leaves the other groups as they are."""
    names = checked_groups(groups)
    if not keep:
        database.execute("DELETE FROM memberships WHERE person = ?", (person,))
    query = "INSERT INTO memberships VALUES (?, ?) ON CONFLICT DO NOTHING"
    database.executemany(query, [(name, person) for name in names])


def members(database: Database, groups: Sequence[str]) -> np.ndarray:
    """Numbers of the people in any of some groups: ``(people,)`` int64, ascending.

    Raises:
        LibraryError: a group has no member, or none is named.
    """
    names = checked_groups(groups)
    if not names:
        raise LibraryError(
            "within names no group; leave it out to compare with everybody.",
            code="group-not-found",
        )
    found: set[int] = set()
    for name in names:
        query = "SELECT person FROM memberships WHERE group_name = ?"
        people = [person for (person,) in database.execute(query, (name,))]
        if not people:
            raise LibraryError(
                f"Nobody is in the group '{name}'; {_groups_there(database)}.",
                code="group-not-found",
            )
        found.update(people)
    return np.array(sorted(found), dtype=np.int64)


def _groups_there(database: Database) -> str:
    query = "SELECT DISTINCT group_name FROM memberships ORDER BY group_name"
    groups = [f"'{name}'" for (name,) in database.execute(query)]
    if not groups:
        return "nobody is in any"
    return f"there are {shorten_list(groups, _NAMES_TOLD)}"


def names_of(database: Database, people: Sequence[int]) -> dict[int, str]:
    """Names of some people by their numbers; who was removed meanwhile is left out."""
    names: dict[int, str] = {}
    for some in in_portions(people):
        query = f"SELECT id, name FROM people WHERE id IN ({places_for(some)})"
        names.update(database.execute(query, some).fetchall())
    return names


def in_portions(values: Sequence[Any]) -> list[Sequence[Any]]:
    """Values in portions that one statement can take."""
    return [values[k : k + _VALUES_AT_ONCE] for k in range(0, len(values), _VALUES_AT_ONCE)]


def places_for(values: Sequence[Any]) -> str:
    """As many question marks as there are values."""
    return ", ".join("?" * len(values))


def groups_of_people(
    database: Database, whose: str = "SELECT id FROM people", values: tuple[Any, ...] = ()
) -> dict[int, list[str]]:
    """Names of the groups, in alphabetical order, of each person who is in one.

    ``whose`` is a query for numbers of people, and ``values`` are its arguments.
    """
    groups: dict[int, list[str]] = {}
    query = f"""SELECT person, group_name FROM memberships WHERE person IN ({whose})
        ORDER BY group_name"""
    for person, group in database.execute(query, values):
        groups.setdefault(person, []).append(group)
    return groups


def all_people(
    database: Database,
    fingerprint: str,
    *,
    after: str | None = None,
    most: int | None = None,
) -> list[Person]:
    """Everybody, in alphabetical order; or those ``after`` a name, and no more than ``most``."""
    return _people_where(
        database, fingerprint, "WHERE name > ?", (after or "",), ALL_ROWS if most is None else most
    )


def one_person(database: Database, fingerprint: str, name: str) -> Person:
    """What is known of a person; a :class:`LibraryError` where there is none of that name."""
    number = find_person(database, name)
    return _people_where(database, fingerprint, "WHERE people.id = ?", (number,), 1)[0]


def _people_where(
    database: Database, fingerprint: str, where: str, values: tuple[Any, ...], most: int
) -> list[Person]:
    whose = f"SELECT id FROM people {where} ORDER BY name LIMIT ?"
    query = f"""SELECT id, name, metadata, enrolled_at,
        (SELECT count(*) FROM clips WHERE clips.person = people.id),
        EXISTS (SELECT 1 FROM embeddings e WHERE e.person = people.id AND e.fingerprint = ?)
        FROM people {where} ORDER BY name LIMIT ?"""
    rows = database.execute(query, (fingerprint, *values, most)).fetchall()
    groups = groups_of_people(database, whose, (*values, most))
    return [
        Person(
            name,
            num_clips,
            tuple(groups.get(number, ())),
            decode_metadata(metadata),
            at,
            bool(has_voiceprint),
        )
        for number, name, metadata, at, num_clips, has_voiceprint in rows
    ]


def decode_metadata(metadata: str) -> dict[str, Any]:
    """Metadata as it was given; nothing where it is damaged."""
    try:
        value = json.loads(metadata)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        logger.warning("The metadata of a person are damaged and left out.")
        return {}
    return value
