"""The tables of a library in PostgreSQL, and how those of an earlier format become this one's.

They are the tables of :mod:`mvector.speakers.sqlite_schema`, with ``audio`` for clips and
``voiceprints`` for searches in the database. A migration is never changed once it is released: a
change of the tables is one more of them.
"""

from __future__ import annotations

import uuid

_FIRST = """
CREATE TABLE meta (
    key TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE people (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    metadata TEXT NOT NULL DEFAULT '{}',
    enrolled_at TEXT NOT NULL,
    folder_key TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX people_by_folder_key ON people (folder_key);
CREATE TABLE memberships (
    group_name TEXT COLLATE "C" NOT NULL,
    person BIGINT NOT NULL REFERENCES people ON DELETE CASCADE,
    PRIMARY KEY (group_name, person)
);
CREATE INDEX memberships_by_person ON memberships (person);
CREATE TABLE clips (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person BIGINT NOT NULL REFERENCES people ON DELETE CASCADE,
    file TEXT COLLATE "C" UNIQUE,
    sha256 TEXT,
    stamp TEXT NOT NULL DEFAULT '',
    added_at TEXT NOT NULL
);
CREATE INDEX clips_by_person ON clips (person);
CREATE INDEX clips_by_hash ON clips (sha256);
CREATE TABLE audio (
    file TEXT COLLATE "C" PRIMARY KEY
        REFERENCES clips (file) ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    data BYTEA NOT NULL
);
ALTER TABLE audio ALTER COLUMN data SET STORAGE EXTERNAL;  -- sound does not get smaller
CREATE TABLE embeddings (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    clip BIGINT NOT NULL REFERENCES clips ON DELETE CASCADE,
    person BIGINT NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    vector BYTEA NOT NULL,
    checksum BIGINT NOT NULL,
    speech_s DOUBLE PRECISION,
    snr_db DOUBLE PRECISION,
    low_edge_hz DOUBLE PRECISION,
    bandwidth_hz DOUBLE PRECISION,
    hole_share DOUBLE PRECISION,
    UNIQUE (clip, fingerprint)
);
CREATE INDEX embeddings_by_person ON embeddings (person);
CREATE TABLE changes (
    revision BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person BIGINT NOT NULL UNIQUE
);
CREATE TABLE removals (
    file TEXT COLLATE "C" PRIMARY KEY
);
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TEXT COLLATE "C" NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    name TEXT,
    score DOUBLE PRECISION
);
CREATE TABLE voiceprints (  -- of what is not encrypted, and kept with each change of embeddings
    person BIGINT NOT NULL REFERENCES people ON DELETE CASCADE,
    fingerprint TEXT COLLATE "C" NOT NULL,
    voiceprint VECTOR NOT NULL,  -- of unit length; each model has a dimension of its own
    PRIMARY KEY (fingerprint, person)
);
CREATE INDEX voiceprints_by_person ON voiceprints (person);
CREATE INDEX voiceprints_by_lot ON voiceprints (fingerprint, hashint8(person));

CREATE FUNCTION lock_library() RETURNS void LANGUAGE sql
    SET search_path FROM CURRENT
    AS $$ SELECT pg_advisory_xact_lock(hashtextextended('mvector ' || current_schema(), 0)) $$;

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM lock_library();  -- revisions are given in the order of commits, whoever makes them
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM changes WHERE person = OLD.person;
        INSERT INTO changes (person) VALUES (OLD.person);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        DELETE FROM changes WHERE person = NEW.person;
        INSERT INTO changes (person) VALUES (NEW.person);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER embedding_insert_or_delete AFTER INSERT OR DELETE ON embeddings
    FOR EACH ROW EXECUTE FUNCTION note_change();
CREATE TRIGGER embedding_update
    AFTER UPDATE OF clip, person, fingerprint, vector, checksum ON embeddings
    FOR EACH ROW EXECUTE FUNCTION note_change();

CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at < coalesce((SELECT value FROM meta WHERE key = 'audit_from'), '') THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit table is append-only';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION keep_audit();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit();
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)  # from no tables to the first format, and so on

FORMAT_KEY = "format"  # in the table meta: how many migrations were made


def statements(version: int) -> str:
    """What makes tables of the present format of those of ``version``; 0: there are none."""
    script = "".join(MIGRATIONS[version:])
    if version == 0:
        script += f"INSERT INTO meta VALUES ('library', '{uuid.uuid4().hex}');"
    return f"""{script}
        INSERT INTO meta VALUES ('{FORMAT_KEY}', '{len(MIGRATIONS)}')
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;"""
