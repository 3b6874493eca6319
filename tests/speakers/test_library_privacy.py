"""What is deleted is gone, what is kept is for its owner, and what is imported is not trusted."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_codes import raises_code
from stand_in import StandInEncoder, clip_of, stored_clips

from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary
from mvector.speakers.encryption import KEY_VARIABLE


@pytest.fixture
def encoder() -> Any:
    return StandInEncoder(embd_dim=192)


@pytest.fixture
def library(encoder: Any, tmp_path: Path) -> SpeakerLibrary:
    library = SpeakerLibrary(tmp_path / "db", encoder)
    for k in range(3):
        library.register(f"Person {k}", clip_of(k), metadata={"k": k}, groups=[f"group {k % 2}"])
    library.register("Person 1", clip_of(1, take=1))
    return library


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> bytes:
    fernet = pytest.importorskip("cryptography.fernet").Fernet
    made: bytes = fernet.generate_key()
    monkeypatch.setenv(KEY_VARIABLE, made.decode())
    return made


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# ---- removal --------------------------------------------------------------------------------


def test_what_was_removed_is_in_no_file_any_more(
    library: SpeakerLibrary, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mvector.speakers import voiceprints

    monkeypatch.setattr(voiceprints, "_CACHED_PEOPLE", 1)  # with the matrix as a file, too
    clip = next((library.folder / "Person 1").glob("*.wav"))
    secrets = [clip.read_bytes()[60:], encoder.embed(clip).astype("<f4").tobytes()]
    library.identify(clip_of(0))
    library.close()
    assert (library.folder / "voiceprints.cache").exists()
    assert all(secret in bytes_of(library.folder) for secret in secrets)
    again = SpeakerLibrary(library.folder, encoder)
    unit = again._identification.voiceprints
    again.identify(clip_of(1))
    row = unit.matrix[1].tobytes()
    assert row in bytes_of(library.folder)
    size = (library.folder / "voiceprints.db").stat().st_size
    assert again.remove("Person 1") == 2
    left = bytes_of(library.folder)  # the library is still open
    for secret in [*secrets, row]:
        pieces = [secret[start : start + 24] for start in range(0, len(secret) - 24, 24)]
        assert not any(piece in left for piece in pieces)
    assert b"Person 1" not in left.replace(b"removePerson 1", b"").replace(b"registerPerson 1", b"")
    assert not (library.folder / "Person 1").exists()
    assert (library.folder / "voiceprints.db").stat().st_size <= size


def test_space_is_given_back(library: SpeakerLibrary) -> None:
    database = library.folder / "voiceprints.db"
    names = [f"Extra {k}" for k in range(2000)]
    library.register_embeddings(names, np.ones((2000, 192)))
    library._store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    full = database.stat().st_size
    for name in names[:3]:
        library.remove(name)
    with library._store.transaction() as connection:
        connection.execute("DELETE FROM people WHERE name LIKE 'Extra %'")
    library.remove("Person 0")
    assert database.stat().st_size < full / 5


def test_without_audio_there_are_embeddings_only(
    encoder: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SpeakerLibrary(tmp_path, encoder, keep_audio=False) as library:
        assert library.register("Ada", clip_of(0)) is None
        assert library.register("Ada", clip_of(0, take=1)) is None
        assert stored_clips(tmp_path) == set()
        assert clip_of(0)[60:] not in bytes_of(tmp_path)
    with SpeakerLibrary(tmp_path, encoder) as library:
        assert library.people()[0].num_clips == 2
        assert library.identify(clip_of(0))[0].score > 0.9
    other: Any = StandInEncoder(seed=1, embd_dim=192)
    library = SpeakerLibrary(tmp_path, other)
    with pytest.raises(LibraryError, match=r"No audio is stored.*enrol everybody again"):
        library.reembed()
    library.close()
    with SpeakerLibrary(tmp_path, encoder) as library:
        assert library.identify(clip_of(0))[0].score > 0.9
        assert library.remove("Ada") == 2


# ---- another model --------------------------------------------------------------------------


def test_voiceprints_of_another_model_are_never_compared(
    library: SpeakerLibrary, encoder: Any
) -> None:
    other: Any = StandInEncoder(seed=1, embd_dim=192)
    upgraded = SpeakerLibrary(library.folder, other)
    assert upgraded.names() == library.names()
    for refused in (
        lambda: upgraded.identify(clip_of(0)),
        lambda: upgraded.register("Eve", clip_of(4)),
        lambda: upgraded.register_embeddings(["Eve"], np.ones((1, 192))),
    ):
        with pytest.raises(LibraryError, match=r"enrolled with another model.*reembed"):
            refused()
    assert other.heard <= 2  # the clips of the calls above
    assert library.identify(clip_of(0))[0].name == "Person 0"
    assert upgraded.reembed() == 4
    assert upgraded.identify(clip_of(1))[0].name == "Person 1"
    with raises_code("library-of-another-model"):
        library.identify(clip_of(0))
    ((count,),) = library._store.rows("SELECT count(*) FROM embeddings")
    assert count == 4


def test_an_upgrade_goes_on_where_it_was_stopped_and_the_old_model_works_till_then(
    library: SpeakerLibrary, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mvector.speakers import reconciliation

    monkeypatch.setattr(reconciliation, "_CLIPS_AT_ONCE", 1)
    library.keep_audio = False
    library.register("No Audio", clip_of(7))
    other: Any = StandInEncoder(seed=1, embd_dim=192)
    real = other.embed_readable

    def interrupted(*arguments: object, **options: object) -> Any:
        if other.heard == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    upgraded = SpeakerLibrary(library.folder, other)
    monkeypatch.setattr(other, "embed_readable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        upgraded.reembed()
    assert library.identify(clip_of(2))[0].name == "Person 2"
    with raises_code("library-of-another-model"):
        upgraded.identify(clip_of(2))
    monkeypatch.setattr(other, "embed_readable", real)
    upgraded = SpeakerLibrary(library.folder, other)
    assert upgraded.reembed() == 2
    assert "enrol them again: No Audio" in caplog.text
    people = {person.name: person.has_voiceprint for person in upgraded.people()}
    assert people == {"No Audio": False, "Person 0": True, "Person 1": True, "Person 2": True}
    assert len(upgraded.identify(clip_of(2), 9)) == 3
    assert upgraded.register("No Audio", clip_of(7))
    assert upgraded.identify(clip_of(7))[0].name == "No Audio"


# ---- encryption -----------------------------------------------------------------------------


def test_with_a_key_neither_clips_nor_embeddings_can_be_read(
    encoder: Any, tmp_path: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.fernet import Fernet

    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        for k in range(2):
            library.register(f"Person {k}", clip_of(k))
        (tmp_path / "db" / "By hand").mkdir()
        (tmp_path / "db" / "By hand" / "x.wav").write_bytes(clip_of(5))
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        assert library.names() == ["By hand", "Person 0", "Person 1"]
        assert library.identify(clip_of(5))[0].name == "By hand"
        heard = encoder.heard
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        assert encoder.heard == heard
        library.export(tmp_path / "export")
    for k in (0, 1, 5):
        for secret in (clip_of(k)[60:100], encoder.embed(clip_of(k)).astype("<f4").tobytes()[:40]):
            assert secret not in bytes_of(tmp_path)
    assert not list((tmp_path / "db").rglob("*.wav"))
    other: Any = StandInEncoder(seed=1, embd_dim=192)
    with SpeakerLibrary(tmp_path / "db", other) as library:
        assert library.reembed() == 3
        assert library.identify(clip_of(1))[0].name == "Person 1"
    monkeypatch.setenv(KEY_VARIABLE, Fernet.generate_key().decode())
    with pytest.raises(
        LibraryError, match="was encrypted under another key than MVECTOR_LIBRARY_KEY"
    ):
        SpeakerLibrary(tmp_path / "db", encoder)
    with raises_code("library-key"):
        SpeakerLibrary.import_file(tmp_path / "export", tmp_path / "new", encoder)
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(LibraryError, match="is no Fernet key"):
        SpeakerLibrary(tmp_path / "db", encoder)
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(LibraryError, match="is encrypted; set MVECTOR_LIBRARY_KEY"):
        SpeakerLibrary(tmp_path / "db", encoder)
    monkeypatch.setenv(KEY_VARIABLE, key.decode())
    with SpeakerLibrary.import_file(tmp_path / "export", tmp_path / "new", encoder) as library:
        assert library.identify(clip_of(5))[0].name == "By hand"


def test_a_plain_library_is_encrypted_by_way_of_an_export(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    library.export(tmp_path / "export")
    library.close()
    request.getfixturevalue("key")
    with pytest.raises(LibraryError, match=r"is not encrypted.*export the library and import it"):
        SpeakerLibrary(library.folder, encoder)
    with SpeakerLibrary.import_file(tmp_path / "export", tmp_path / "new", encoder) as sealed:
        assert sealed.identify(clip_of(2))[0].name == "Person 2"
    assert clip_of(2)[60:100] not in bytes_of(tmp_path / "new")


# ---- export and import ----------------------------------------------------------------------


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    library: SpeakerLibrary, tmp_path: Path
) -> None:
    library.export(tmp_path / "people.mvlib")
    library.register("Later", clip_of(7))
    library.export(tmp_path / "people.mvlib")
    assert b"Later" in (tmp_path / "people.mvlib").read_bytes()
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(LibraryError, match="is there already and is no exported library"):
        library.export(tmp_path / "thesis.doc")
    assert (tmp_path / "thesis.doc").read_text() == "precious"


def test_an_exported_library_is_the_same_when_imported(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path
) -> None:
    library.keep_audio = False
    library.register("No Audio", clip_of(7))
    library.export(tmp_path / "people.mvlib")
    assert stat.S_IMODE((tmp_path / "people.mvlib").stat().st_mode) == 0o600
    heard = encoder.heard
    with SpeakerLibrary.import_file(tmp_path / "people.mvlib", tmp_path / "new", encoder) as new:
        assert encoder.heard == heard
        assert new.people() == library.people()
        assert new.identify(clip_of(1), 9) == library.identify(clip_of(1), 9)
    with SpeakerLibrary(tmp_path / "new", encoder) as new:
        assert new.people() == library.people()
        assert len(stored_clips(tmp_path / "new")) == 4
    with pytest.raises(LibraryError, match="People are enrolled in"):
        SpeakerLibrary.import_file(tmp_path / "people.mvlib", tmp_path / "new", encoder)


def test_threads_can_export_to_one_file_at_once(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    others = [SpeakerLibrary(library.folder, encoder) for _ in range(4)]
    with ThreadPoolExecutor(max_workers=len(others)) as pool:
        for _ in range(5):
            list(pool.map(lambda other: other.export(out / "people.mvlib"), others))
    assert [path.name for path in out.iterdir()] == ["people.mvlib"]
    with SpeakerLibrary.import_file(out / "people.mvlib", tmp_path / "new", encoder) as new:
        assert new.people() == library.people()


def changed(table: dict[str, Any], path: list[Any], value: Any) -> dict[str, Any]:
    place: Any = table
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return table


FIRST = ["people", 0]
CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no name": lambda t: changed(t, [*FIRST, "name"], ""),
    "name of 10^6 characters": lambda t: changed(t, [*FIRST, "name"], "x" * 10**6),
    "suffix that leaves the folder": lambda t: changed(
        t, [*FIRST, "clips", 0, "suffix"], "/../../x.wav"
    ),
    "member that is not there": lambda t: changed(t, [*FIRST, "clips", 0, "member"], "../secret"),
    "another clip": lambda t: changed(t, [*FIRST, "clips", 0, "sha256"], "0" * 64),
    "embedding that is not there": lambda t: changed(t, [*FIRST, "clips", 0, "embedding"], 99),
    "negative embedding": lambda t: changed(t, [*FIRST, "clips", 0, "embedding"], -1),
    "a number for a name": lambda t: changed(t, [*FIRST, "name"], 7),
    "unknown key": lambda t: changed(t, ["more"], 1),
    "no clips": lambda t: changed(t, [*FIRST, "clips"], []),
    "more embeddings": lambda t: changed(t, ["num_embeddings"], 10**12),
    "other dimensions": lambda t: changed(t, ["dimensions"], 7),
    "metadata beyond the limit": lambda t: changed(t, [*FIRST, "metadata"], {"x": "y" * 10**5}),
    "other format": lambda t: changed(t, ["format"], "mvector-library-9"),
    "no table": lambda t: [],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_made_to_deceive_is_refused_and_leaves_nothing(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path, change: str
) -> None:
    library.export(tmp_path / "good")
    with zipfile.ZipFile(tmp_path / "good") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    table = CHANGES[change](json.loads(members["library.json"]))
    members["library.json"] = json.dumps(table).encode()
    check_refused(tmp_path, encoder, members)


@pytest.mark.parametrize("kind", ["pickle", "huge header", "float64", "nan", "compressed"])
def test_embeddings_made_to_deceive_are_refused(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path, kind: str
) -> None:
    library.export(tmp_path / "good")
    with zipfile.ZipFile(tmp_path / "good") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    vectors = np.load(io.BytesIO(members["embeddings.npy"]))
    stream = io.BytesIO()
    if kind == "pickle":
        np.save(stream, np.array([{}] * 4), allow_pickle=True)
    elif kind == "huge header":
        np.save(stream, vectors)
        stream = io.BytesIO(stream.getvalue().replace(b"(4, 192), ", b"(9**9, 2),"))
    elif kind == "float64":
        np.save(stream, vectors.astype(np.float64))
    elif kind == "nan":
        np.save(stream, vectors * np.float32(np.nan))
    else:
        np.save(stream, vectors)
    members["embeddings.npy"] = stream.getvalue()
    compression = zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
    check_refused(tmp_path, encoder, members, compression)


def check_refused(
    tmp_path: Path, encoder: Any, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(tmp_path / "bad", "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    before = sorted(path for path in tmp_path.rglob("*") if "new" not in path.parts)
    with pytest.raises(LibraryError, match=r"^[^\n]*$"):
        SpeakerLibrary.import_file(tmp_path / "bad", tmp_path / "new", encoder)
    assert stored_clips(tmp_path / "new") == set()
    assert SpeakerLibrary(tmp_path / "new", encoder).names() == []
    assert sorted(path for path in tmp_path.rglob("*") if "new" not in path.parts) == before


def test_whatever_bytes_change_an_import_works_or_says_why_not(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path
) -> None:
    library.export(tmp_path / "good")
    whole = np.frombuffer((tmp_path / "good").read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(2)
    for _ in range(20):
        mutated = whole.copy()
        for _ in range(int(rng.integers(1, 6))):
            mutated[int(rng.integers(len(whole)))] = rng.integers(256)
        cut = len(whole) if rng.random() < 0.8 else int(rng.integers(len(whole)))
        (tmp_path / "bad").write_bytes(mutated[:cut].tobytes())
        try:
            SpeakerLibrary.import_file(tmp_path / "bad", tmp_path / "new", encoder).close()
        except LibraryError:
            assert stored_clips(tmp_path / "new") == set()
        shutil.rmtree(tmp_path / "new", ignore_errors=True)


# ---- audit ----------------------------------------------------------------------------------


def test_the_audit_tells_who_did_what(library: SpeakerLibrary, encoder: Any) -> None:
    library.record("identify", "Person 1", 0.75)
    library.remove("Person 2")
    newest, asked, registered = library.audit_log(limit=3)
    assert (newest.action, newest.name) == ("remove", "Person 2")
    assert (asked.action, asked.name, asked.score) == ("identify", "Person 1", 0.75)
    assert (registered.action, registered.name) == ("register", "Person 1")
    assert "@" in newest.who
    assert newest.at.endswith("+00:00")
    assert json.dumps(newest.to_dict())


def test_the_audit_cannot_be_rewritten_and_can_be_turned_off(
    library: SpeakerLibrary, encoder: Any
) -> None:
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        for statement in ("DELETE FROM audit", "UPDATE audit SET name = 'Eve'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
    database.close()
    count = len(library.audit_log())
    with SpeakerLibrary(library.folder, encoder, audit=False) as quiet:
        quiet.register("Quiet", clip_of(9))
        quiet.record("identify", "Quiet", 1.0)
    assert len(library.audit_log()) == count
