"""The tables of the speaker library, and databases of earlier formats brought up to them."""

from __future__ import annotations

import re
import sqlite3
import uuid

from mvector.audio.quality import SpeechQuality

VERSION = 5
READABLE = (2, 3, 4, 5)  # without writing; the second format lacks the quality of clips

_TABLES = """
CREATE TABLE meta (              -- library: its random number; model: fingerprint in use;
    key TEXT PRIMARY KEY,        -- sealed: proof of the key; cache, index: tokens of derived
    value TEXT NOT NULL          -- files; erase: space of removed people is still to be freed;
                                 -- model_place: where that model is;
                                 -- audit_days, audit_from: how long the audit is kept, from when
) WITHOUT ROWID;
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    metadata TEXT NOT NULL DEFAULT '{}',
    enrolled_at TEXT NOT NULL,
    folder_key TEXT NOT NULL DEFAULT ''  -- the same where folders may not be told apart
);
CREATE INDEX people_by_folder_key ON people (folder_key);
CREATE TABLE memberships (
    group_name TEXT NOT NULL,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    PRIMARY KEY (group_name, person)
) WITHOUT ROWID;
CREATE INDEX memberships_by_person ON memberships (person);
CREATE TABLE clips (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    file TEXT UNIQUE,            -- relative to the library, forward slashes; NULL: audio not kept
    sha256 TEXT,                 -- of the file
    stamp TEXT NOT NULL DEFAULT '',  -- size and times when it was hashed; '' is to be hashed again
    added_at TEXT NOT NULL
);
CREATE INDEX clips_by_person ON clips (person);
CREATE INDEX clips_by_hash ON clips (sha256);
CREATE TABLE embeddings (
    id INTEGER PRIMARY KEY,
    clip INTEGER NOT NULL REFERENCES clips ON DELETE CASCADE,
    person INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,   -- of the model that made it
    vector BLOB NOT NULL,        -- float32, little-endian; encrypted where the library is
    checksum INTEGER NOT NULL,   -- CRC-32 of the vector as stored
    speech_s REAL,               -- seconds of speech in the clip as the model hears it, and
    snr_db REAL,                 -- signal-to-noise ratio in dB; NULL: not measured
    low_edge_hz REAL,            -- lowest and highest frequency of the speech, and the share of
    bandwidth_hz REAL,           -- its spectrum that is missing; NULL: not measured
    hole_share REAL,
    UNIQUE (clip, fingerprint)
);
CREATE INDEX embeddings_by_person ON embeddings (person);
CREATE TABLE changes (           -- whose voiceprints changed last: what caches have to catch up on
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL UNIQUE
);
CREATE TABLE removals (          -- files that are gone for the library and still to be deleted
    file TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    name TEXT,
    score REAL
);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit table is append-only'); END;
"""

# An entry may go when it is older than what is kept, which is set in the same transaction.
_AUDIT_TRIGGER = """
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN old.at >= coalesce((SELECT value FROM meta WHERE key = 'audit_from'), '')
BEGIN SELECT RAISE(ABORT, 'the audit table is append-only'); END;
"""

# By triggers, so that no statement can forget it, one typed into a database shell included.
_CHANGE = """
CREATE TRIGGER embedding_{event} AFTER {event} {of} ON embeddings BEGIN
    DELETE FROM changes WHERE person IN ({people});
    INSERT INTO changes (person) {rows};
END;
"""
_ON_UPDATE = _CHANGE.format(
    event="UPDATE",
    of="OF clip, person, fingerprint, vector, checksum",  # quality changes no voiceprint
    people="old.person, new.person",
    rows="SELECT old.person UNION SELECT new.person",
)
_TRIGGERS = (
    _AUDIT_TRIGGER
    + _CHANGE.format(event="INSERT", of="", people="new.person", rows="VALUES (new.person)")
    + _CHANGE.format(event="DELETE", of="", people="old.person", rows="VALUES (old.person)")
    + _ON_UPDATE
)

# The first format: one row a clip and model, and all clips in the folders.
_FROM_VERSION_1 = """
INSERT INTO people (name, enrolled_at) SELECT DISTINCT name, datetime('now') FROM first_clips;
INSERT INTO clips (person, file, sha256, added_at)
    SELECT people.id, file, max(sha256), datetime('now')
    FROM first_clips JOIN people USING (name) GROUP BY file;
INSERT INTO embeddings (clip, person, fingerprint, vector, checksum)
    SELECT clips.id, clips.person, fingerprint, embedding, crc32(embedding)
    FROM first_clips JOIN clips USING (file, sha256);
INSERT INTO meta SELECT 'model', fingerprint FROM first_clips
    GROUP BY fingerprint ORDER BY count(*) DESC LIMIT 1;
DROP TABLE first_clips;
"""

# The second format kept no quality of the clips.
_FROM_VERSION_2 = """
ALTER TABLE embeddings ADD COLUMN speech_s REAL;
ALTER TABLE embeddings ADD COLUMN snr_db REAL;
DROP TRIGGER embedding_UPDATE;
"""

# The third format did not know which folders some file systems take for one, nor ended its audit.
_FROM_VERSION_3 = """
ALTER TABLE people ADD COLUMN folder_key TEXT NOT NULL DEFAULT '';
CREATE INDEX people_by_folder_key ON people (folder_key);
DROP TRIGGER audit_is_not_deleted;
"""

# The fourth format did not know what the channel of a clip left of the voice.
_FROM_VERSION_4 = """
ALTER TABLE embeddings ADD COLUMN low_edge_hz REAL;
ALTER TABLE embeddings ADD COLUMN bandwidth_hz REAL;
ALTER TABLE embeddings ADD COLUMN hole_share REAL;
"""

_TABLES_AND_TRIGGERS = set(re.findall(r"CREATE (?:TABLE|TRIGGER) (\w+)", _TABLES + _TRIGGERS))


def version_of(database: sqlite3.Connection) -> int:
    """The format of a database; 0 for an empty one and for the first format."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def migrate(database: sqlite3.Connection) -> None:
    """Make the tables, or those of an earlier format this one's, inside a transaction."""
    version = version_of(database)
    if version == 0:
        _create_tables(database)
    elif version < VERSION:  # and not done by another process meanwhile
        script = _FROM_VERSION_2 + _ON_UPDATE if version == 2 else ""
        script += _FROM_VERSION_3 + _AUDIT_TRIGGER if version < 4 else ""
        for statement in _split_statements(script + _FROM_VERSION_4):
            database.execute(statement)
    database.execute("UPDATE people SET folder_key = folder_key(name) WHERE folder_key = ''")
    database.execute(f"PRAGMA user_version = {VERSION}")


def _create_tables(database: sqlite3.Connection) -> None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    is_first = "clips" in tables
    if is_first:
        database.execute("ALTER TABLE clips RENAME TO first_clips")
    for statement in _split_statements(_TABLES + _TRIGGERS + (_FROM_VERSION_1 if is_first else "")):
        database.execute(statement)
    database.execute("INSERT INTO meta VALUES ('library', ?)", (uuid.uuid4().hex,))


def quality_columns(database: sqlite3.Connection) -> str:
    """What to select of embeddings for the fields of ``SpeechQuality``: NULL for missing ones."""
    version = version_of(database)
    num_known = 0 if version < 3 else 2 if version < 5 else len(SpeechQuality._fields)
    return ", ".join(
        name if k < num_known else f"NULL AS {name}" for k, name in enumerate(SpeechQuality._fields)
    )


def is_complete(database: sqlite3.Connection) -> bool:
    """Whether all tables and triggers are there."""
    found = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    return found >= _TABLES_AND_TRIGGERS


def _split_statements(script: str) -> list[str]:
    """The statements of a script; ``executescript`` would commit before it begins."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
