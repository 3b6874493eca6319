"""Quality of the enrolled clips: measured, kept, carried along, and filled in where missing."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import StandInEncoder, clip_of, write_clip

from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError
from mvector.evaluation.quality import clip_measures, model_quality
from mvector.scoring.trials import EnrolmentModels
from mvector.speakers import SpeakerLibrary, clip_quality, reconciliation
from mvector.speakers.derived import revision_of
from mvector.speakers.encryption import KEY_VARIABLE


def quality_of_clips(encoder: Any, *clips: Any) -> SpeechQuality:
    """Total speech and mean SNR, as evaluations compute them for an enrolment model, and bands."""
    reports = [encoder.measure(clip) for clip in clips]
    models = EnrolmentModels(("m",), np.arange(len(clips)), np.array([0, len(clips)]))
    measured = model_quality(clip_measures(reports), models)[0]
    bands = np.array([report.quality[2:] for report in reports]).mean(axis=0)
    np.testing.assert_allclose(measured[2:4], bands[1:])
    return SpeechQuality(*measured[:2], *bands)


def found(library: SpeakerLibrary, number: int) -> SpeechQuality | None:
    """The quality of the person who sounds like clip ``number``."""
    (match,) = library.identify(clip_of(number))
    return match.quality


def check_known(library: SpeakerLibrary, encoder: Any, *, clips: int = 2) -> None:
    """Whether the quality of persons 0 and 1, with some clips each, is kept."""
    for number in range(2):
        expected = quality_of_clips(encoder, *(clip_of(number, take) for take in range(clips)))
        assert found(library, number) == pytest.approx(expected)


def fill(folder: Path, *, clips: int = 2) -> None:
    for number in range(2):
        for take in range(clips):
            write_clip(folder / f"Person {number}" / f"{take}.wav", number, take)


def test_registered_clips_are_measured(encoder: Any, tmp_path: Path) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    for number in range(2):
        for take in range(2):
            library.register(f"Person {number}", clip_of(number, take))
    check_known(library, encoder)


def test_clips_put_in_by_hand_are_measured_once(encoder: Any, tmp_path: Path) -> None:
    fill(tmp_path)
    with SpeakerLibrary(tmp_path, encoder) as library:
        check_known(library, encoder)
    (tmp_path / "Person 0" / "1.wav").write_bytes(clip_of(0, take=7))
    shutil.copytree(tmp_path / "Person 1", tmp_path / "Person 1 again")
    (tmp_path / "Person 1" / "0.wav").rename(tmp_path / "Person 1" / "moved.wav")
    measured = encoder.measured
    with SpeakerLibrary(tmp_path, encoder) as library:
        assert encoder.measured == measured + 1  # the changed one; the others are known
        assert found(library, 0) == pytest.approx(
            quality_of_clips(encoder, clip_of(0, 0), clip_of(0, 7))
        )
        both = {match.name: match.quality for match in library.identify(clip_of(1), 2)}
        assert both["Person 1"] == both["Person 1 again"] is not None


def test_a_person_with_a_clip_of_unknown_quality_has_none(encoder: Any, tmp_path: Path) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    library.register("Ada", clip_of(0))
    library.register_embeddings(["Ada"], encoder.embed(clip_of(0, 1))[None])
    assert found(library, 0) is None
    known = SpeechQuality(3.0, 20.0)
    library.register_embeddings(["Bob"], encoder.embed(clip_of(1))[None], [known])
    assert found(library, 1) == known


def test_another_model_measures_for_itself(encoder: Any, tmp_path: Path) -> None:
    fill(tmp_path)
    SpeakerLibrary(tmp_path, encoder).close()
    other: Any = StandInEncoder(seed=1)
    with SpeakerLibrary(tmp_path, other) as library:
        assert other.measured == 0
        assert library.reembed() == 4
        assert other.measured == 4
        check_known(library, other)


def test_measuring_does_not_count_as_a_change_of_voiceprints(encoder: Any, tmp_path: Path) -> None:
    fill(tmp_path)
    library = SpeakerLibrary(tmp_path, encoder)
    with library._store.transaction() as database:
        before = revision_of(database)
        database.execute("UPDATE embeddings SET speech_s = NULL, snr_db = NULL")
    assert library.reconcile().num_measured == 4
    with library._store.snapshot() as database:
        assert revision_of(database) == before
    check_known(library, encoder)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_an_exported_file_carries_quality(
    encoder: Any, tmp_path: Path, is_sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_sealed:
        fernet = pytest.importorskip("cryptography.fernet").Fernet
        monkeypatch.setenv(KEY_VARIABLE, fernet.generate_key().decode())
    fill(tmp_path / "db")
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        check_known(library, encoder)
        library.export(tmp_path / "file")
    for keep_audio in (True, False):
        measured, place = encoder.measured, tmp_path / f"audio {keep_audio}"
        with SpeakerLibrary.import_file(
            tmp_path / "file", place, encoder, keep_audio=keep_audio
        ) as new:
            assert encoder.measured == measured
            check_known(new, encoder)


@pytest.mark.parametrize("num_known", [0, 2], ids=["nothing known", "no band known"])
def test_a_file_of_an_earlier_version_is_imported_and_measured_when_opened(
    encoder: Any, tmp_path: Path, num_known: int
) -> None:
    fill(tmp_path / "db")
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        library.export(tmp_path / "file")
    with zipfile.ZipFile(tmp_path / "file") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    table = json.loads(members["library.json"])
    for person in table["people"]:
        for clip in person["clips"]:
            for name in SpeechQuality._fields[num_known:]:
                del clip[name]
    members["library.json"] = json.dumps(table).encode()
    with zipfile.ZipFile(tmp_path / "old", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with SpeakerLibrary.import_file(tmp_path / "old", tmp_path / "new", encoder) as new:
        known = quality_of_clips(encoder, clip_of(0, 0), clip_of(0, 1))[:num_known]
        quality = found(new, 0)
        assert quality == (pytest.approx((*known, None, None, None)) if num_known else None)
    with SpeakerLibrary(tmp_path / "new", encoder) as new:
        check_known(new, encoder)


FROM_THE_FIFTH_TO_THE_FOURTH_FORMAT = """
ALTER TABLE embeddings DROP COLUMN low_edge_hz;
ALTER TABLE embeddings DROP COLUMN bandwidth_hz;
ALTER TABLE embeddings DROP COLUMN hole_share;
PRAGMA user_version = 4;
"""


def test_a_library_of_the_fourth_format_learns_the_bands_of_its_clips(
    encoder: Any, tmp_path: Path
) -> None:
    fill(tmp_path)
    SpeakerLibrary(tmp_path, encoder).close()
    with sqlite3.connect(tmp_path / "voiceprints.db") as database:
        database.executescript(FROM_THE_FIFTH_TO_THE_FOURTH_FORMAT)
    database.close()
    with SpeakerLibrary(tmp_path, encoder, read_only=True) as library:
        expected = quality_of_clips(encoder, clip_of(0, 0), clip_of(0, 1))
        quality = found(library, 0)
        assert quality is not None
        assert quality[:2] == pytest.approx(expected[:2])
        assert quality[2:] == (None, None, None)
    heard, measured = encoder.heard, encoder.measured
    with SpeakerLibrary(tmp_path, encoder) as library:
        assert (encoder.heard, encoder.measured) == (heard, measured + 4)
        check_known(library, encoder)


# ---- libraries of the second format, which kept no quality --------------------------------------

SECOND_FORMAT = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    metadata TEXT NOT NULL DEFAULT '{}', enrolled_at TEXT NOT NULL);
CREATE TABLE memberships (group_name TEXT NOT NULL,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    PRIMARY KEY (group_name, person)) WITHOUT ROWID;
CREATE INDEX memberships_by_person ON memberships (person);
CREATE TABLE clips (id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE, file TEXT UNIQUE, sha256 TEXT,
    stamp TEXT NOT NULL DEFAULT '', added_at TEXT NOT NULL);
CREATE INDEX clips_by_person ON clips (person);
CREATE INDEX clips_by_hash ON clips (sha256);
CREATE TABLE embeddings (id INTEGER PRIMARY KEY,
    clip INTEGER NOT NULL REFERENCES clips ON DELETE CASCADE, person INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    UNIQUE (clip, fingerprint));
CREATE INDEX embeddings_by_person ON embeddings (person);
CREATE TABLE changes (revision INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL UNIQUE);
CREATE TABLE removals (file TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL,
    action TEXT NOT NULL, name TEXT, score REAL);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit table is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit table is append-only'); END;
CREATE TRIGGER embedding_INSERT AFTER INSERT ON embeddings BEGIN
    DELETE FROM changes WHERE person IN (new.person);
    INSERT INTO changes (person) VALUES (new.person);
END;
CREATE TRIGGER embedding_DELETE AFTER DELETE ON embeddings BEGIN
    DELETE FROM changes WHERE person IN (old.person);
    INSERT INTO changes (person) VALUES (old.person);
END;
CREATE TRIGGER embedding_UPDATE AFTER UPDATE ON embeddings BEGIN
    DELETE FROM changes WHERE person IN (old.person, new.person);
    INSERT INTO changes (person) SELECT old.person UNION SELECT new.person;
END;
PRAGMA user_version = 2;
"""


@pytest.fixture
def second(encoder: Any, tmp_path: Path) -> Path:
    """A library of the second format: two people with two stored clips each, one without audio."""
    folder = tmp_path / "second"
    fill(folder)
    fingerprint = encoder.fingerprint
    with sqlite3.connect(folder / "voiceprints.db") as database:
        database.executescript(SECOND_FORMAT)
        database.execute("INSERT INTO meta VALUES ('library', 'x'), ('model', ?)", (fingerprint,))
        for number in range(3):
            person = f"Person {number}", json.dumps({"number": number})
            database.execute(
                "INSERT INTO people (name, metadata, enrolled_at) VALUES (?, ?, 'then')", person
            )
            database.execute("INSERT INTO memberships VALUES ('all', ?)", (number + 1,))
            for take in range(2):
                file = f"Person {number}/{take}.wav" if number < 2 else None
                clip = database.execute(
                    "INSERT INTO clips (person, file, sha256, added_at) VALUES (?, ?, '', 'then')",
                    (number + 1, file),
                ).lastrowid
                vector = encoder.embed(clip_of(number, take)).astype("<f4").tobytes()
                database.execute(
                    "INSERT INTO embeddings (clip, person, fingerprint, vector, checksum) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (clip, number + 1, fingerprint, vector, zlib.crc32(vector)),
                )
        for (file,) in database.execute("SELECT file FROM clips WHERE file NOTNULL").fetchall():
            digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            database.execute("UPDATE clips SET sha256 = ? WHERE file = ?", (digest, file))
    database.close()
    return folder


def test_a_library_of_the_second_format_is_taken_over_and_measured(
    encoder: Any, second: Path
) -> None:
    heard = encoder.heard
    with SpeakerLibrary(second, encoder) as library:
        assert encoder.heard == heard  # no embedding is computed anew
        check_known(library, encoder)
        assert found(library, 2) is None  # there is no audio to measure
        people = library.people()
        assert [person.metadata for person in people] == [{"number": k} for k in range(3)]
        assert all(person.groups == ("all",) for person in people)
        library.register("Person 3", clip_of(3))
        library.remove("Person 0")
        assert library.identify(clip_of(3), within=None)[0].name == "Person 3"
    with SpeakerLibrary(second, encoder) as library:
        assert [person.name for person in library.people()] == ["Person 1", "Person 2", "Person 3"]
        assert found(library, 3) == pytest.approx(quality_of_clips(encoder, clip_of(3)))


def test_reading_alone_leaves_the_second_format_as_it_is(
    encoder: Any, second: Path, tmp_path: Path
) -> None:
    before = (second / "voiceprints.db").read_bytes()
    with SpeakerLibrary(second, encoder, read_only=True) as library:
        assert library.identify(clip_of(1), 3)[0].name == "Person 1"
        assert found(library, 1) is None
        library.export(tmp_path / "file")
    assert (second / "voiceprints.db").read_bytes() == before
    assert encoder.measured == 0
    with SpeakerLibrary.import_file(tmp_path / "file", tmp_path / "new", encoder) as library:
        assert len(library.people()) == 3


def test_an_opening_measures_a_bounded_number_of_older_clips(
    encoder: Any, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "_MAX_MEASURED_AT_OPENING", 1)
    monkeypatch.setattr(clip_quality, "_CLIPS_AT_ONCE", 2)
    for number in (1, 2):
        SpeakerLibrary(second, encoder).close()
        assert encoder.measured == number
    with SpeakerLibrary(second, encoder, look_at_folders=False) as library:
        assert encoder.measured == 2
        assert library.reconcile().num_measured == 2
        check_known(library, encoder)


def test_no_opening_fails_for_what_cannot_be_measured_or_kept(
    encoder: Any, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(source: Any) -> None:
        raise OSError("the disk fails")

    with monkeypatch.context() as patched:
        patched.setattr(encoder, "measure", unreadable)
        with SpeakerLibrary(second, encoder) as library:
            assert library.identify(clip_of(1))[0].name == "Person 1"
            assert found(library, 1) is None
    with SpeakerLibrary(second, encoder) as library:
        with library._store.transaction() as database:
            database.execute("UPDATE embeddings SET speech_s = NULL")
        with monkeypatch.context() as patched:
            patched.setattr(library._store, "transaction", full_disk)
            assert clip_quality.measure_stored_clips(library._context) == 0
        assert found(library, 1) is None
        assert library.reconcile().num_measured == 4


def full_disk() -> Any:
    raise LibraryError("The disk is full.")
