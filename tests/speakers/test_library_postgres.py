"""What is of PostgreSQL alone: addresses, rights, formats, and a server that goes away."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_codes import raises_code
from postgres_server import PASSWORD
from stand_in import StandInEncoder, clip_of, write_clip

from mvector.cli import main
from mvector.cli.import_library import enrol_files, find_clips_of_people
from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary, postgres_search
from mvector.speakers.postgres_address import is_address, parse_address


@pytest.fixture
def library(encoder: Any, postgres: str) -> SpeakerLibrary:
    library = SpeakerLibrary(postgres, encoder)
    for k in range(3):
        library.register(f"Person {k}", clip_of(k), groups=["all"])
    return library


def execute(postgres: str, *statements: str) -> None:
    """As the owner of the database."""
    import psycopg

    address = parse_address(postgres)
    with psycopg.connect(address.conninfo, autocommit=True) as connection:
        connection.execute(f"SET search_path = {address.schema}, public")
        for statement in statements:
            connection.execute(statement)


# ---- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://h/d", "postgresql://h/d?schema=mvector"),
        ("postgres://u:secret@h:5433/d", "postgresql://u@h:5433/d?schema=mvector"),
        ("postgresql://u:secret%40q@h/d?schema=x&sslmode=require", "postgresql://u@h/d?schema=x"),
        (
            "postgresql://u@h/d?password=secret&clips=/c",
            "postgresql://u@h/d?schema=mvector&clips=/c",
        ),
        (
            "postgresql:///d?host=/run/pg&user=u",
            "postgresql:///d?host=/run/pg&user=u&schema=mvector",
        ),
        ("postgresql://u:secret@q@h/d", "postgresql://u@h/d?schema=mvector"),
    ],
)
def test_an_address_is_told_without_what_is_secret(address: str, shown: str) -> None:
    assert is_address(address)
    assert str(parse_address(address)) == shown
    assert "secret" not in repr(parse_address(address))


def test_the_path_of_a_folder_is_no_address() -> None:
    assert not is_address("audio_db")
    assert not is_address(Path("postgresql:"))
    with pytest.raises(LibraryError, match="as text, not as a Path"):
        SpeakerLibrary(Path("postgresql://h/d"), None)


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://u:{PASSWORD}/x@h/d",
        f"postgresql://u:{PASSWORD}#x@h/d",
        f"postgresql://u:{PASSWORD}@h/d?schema=Robert';--",
        f"postgresql://u:{PASSWORD}@h/d?clips=relative",
        f"postgresql://u:{PASSWORD}@h/d?index=some",
        f"postgresql://u:{PASSWORD}@h/d?unknown=1",
        f"postgresql://u:{PASSWORD}%zz@h/d",
        f"postgresql://u:{PASSWORD}@[h/d",
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/d",
    ],
)
def test_a_mistake_in_an_address_is_told_without_the_password(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("psycopg")
    with caplog.at_level(logging.DEBUG), pytest.raises(LibraryError) as raised:
        SpeakerLibrary(address, None)
    error: BaseException | None = raised.value
    while error is not None:
        assert PASSWORD not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert PASSWORD not in caplog.text


def test_the_password_is_in_no_message_of_a_library(
    library: SpeakerLibrary, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert PASSWORD in postgres
    said = [library.name, repr(library._store), str(library._context)]
    for refused in (
        lambda: library.person("Nobody"),
        lambda: SpeakerLibrary(f"{postgres}x", None, create=False),
        lambda: SpeakerLibrary(postgres, None).identify(clip_of(0)),
        lambda: library.reconcile(),
        lambda: library.make_folder("Ada"),
    ):
        with pytest.raises(LibraryError) as raised:
            refused()
        said.append(str(raised.value))
    assert not [text for text in said if PASSWORD in text]
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        ["recognition", "--list", "-v", "--audio_db_path", "{}"],
        ["recognition", "--list", "--debug", "--json", "--audio_db_path", "{}"],
        ["serve", "{}"],
        ["library", "copy", "{}", "{}", "{}"],
    ],
)
def test_no_command_repeats_a_password(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg")
    for address in (
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/d",
        f"postgresql://u:{PASSWORD}@x@127.0.0.1:1/d?schema=a",
        f"postgresql://127.0.0.1:1/d?user=u&password={PASSWORD}",
    ):
        assert main([word.format(address) for word in words]) == 2
        said = capsys.readouterr()
        assert said.err
        assert PASSWORD not in said.out + said.err


# ---- what it does otherwise than folders ----------------------------------------------------


def test_clips_put_beside_it_by_hand_are_refused_in_a_sentence(
    postgres: str, encoder: Any, tmp_path: Path
) -> None:
    write_clip(tmp_path / "Ada" / "by hand.wav", 0)
    with SpeakerLibrary(f"{postgres}&clips={tmp_path}", encoder) as library:
        assert library.names() == []
        for refused in (lambda: library.reconcile(), lambda: library.make_folder("Ada")):
            with pytest.raises(LibraryError, match="clips are registered, and not put"):
                refused()
        stored = library.register("Ada", clip_of(0))
        assert stored is not None
        assert stored.parent == tmp_path / "Ada"


def test_many_files_are_enrolled_as_they_are_and_once(
    postgres: str, encoder: Any, tmp_path: Path
) -> None:
    clips = [(f"Person {k % 2}", write_clip(tmp_path / f"{k}.wav", k % 2, k)) for k in range(4)]
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with SpeakerLibrary(postgres, encoder) as library:
        (reason,) = library.register_files([*clips, ("Bad", tmp_path / "bad.wav")])
        assert "bad.wav" in reason
        assert library.register_files(clips) == []
        assert {person.name: person.num_clips for person in library.people()} == {
            "Person 0": 2,
            "Person 1": 2,
        }
        stored = {data for (data,) in library._store.rows("SELECT data FROM audio")}
        assert stored == {path.read_bytes() for _, path in clips}


def test_the_folders_of_an_older_library_are_enrolled_once_however_often(
    postgres: str, encoder: Any, tmp_path: Path
) -> None:
    for k in range(3):
        write_clip(tmp_path / f"Person {k % 2}" / f"{k}.wav", k % 2, k)
    with SpeakerLibrary(postgres, encoder) as library:
        for _ in range(2):
            enrol_files(find_clips_of_people(tmp_path), library)
            assert [person.num_clips for person in library.people()] == [2, 1]


def test_a_clip_that_another_model_cannot_use_is_tried_and_told_of_once(
    library: SpeakerLibrary, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    with library._store.transaction() as database:
        query = "UPDATE audio SET data = ? WHERE file = (SELECT min(file) FROM audio)"
        database.execute(query, (b"RIFF",))
    with SpeakerLibrary(postgres, StandInEncoder(seed=1)) as upgraded:  # type: ignore[arg-type]
        assert upgraded.reembed() == 2
    assert caplog.text.count("Not computed anew") == 1


# ---- formats and rights ---------------------------------------------------------------------


def test_tables_of_an_earlier_format_are_migrated_once_and_later_ones_refused(
    library: SpeakerLibrary, postgres: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mvector.speakers import postgres_schema, postgres_store

    later = (*postgres_schema.MIGRATIONS, "ALTER TABLE people ADD COLUMN born TEXT;")
    with monkeypatch.context() as patched:
        for module in (postgres_schema, postgres_store):
            patched.setattr(module, "MIGRATIONS", later)
        with pytest.raises(LibraryError, match=r"another format \(1\); open it once for writing"):
            SpeakerLibrary(postgres, encoder, read_only=True)
        for _ in range(2):
            with SpeakerLibrary(postgres, encoder) as migrated:
                assert migrated._store.rows("SELECT born FROM people") == [(None,)] * 3
    with pytest.raises(LibraryError, match=r"another format \(2\); update mvector"):
        SpeakerLibrary(postgres, encoder)


def test_the_rights_that_are_documented_are_enough_and_fewer_are_read_only(
    library: SpeakerLibrary, postgres: str, encoder: Any
) -> None:
    import psycopg

    schema = parse_address(postgres).schema
    service, reader = (f"{role}_{uuid.uuid4().hex[:8]}" for role in ("service", "reader"))
    text = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    block = text.split("<!-- rights -->\n```sql\n")[1].split("```")[0]
    block = block.replace("people_service", service).replace("people_reader", reader)
    execute(postgres, *block.replace("mvector", schema).strip().split(";\n"))
    with SpeakerLibrary(postgres.replace("owner:", f"{service}:"), encoder) as serving:
        serving.register("Eve", clip_of(5), metadata={"a": 1}, groups=["night"])
        serving.change("Eve", metadata={}, groups=["day"])
        assert serving.identify(clip_of(5))[0].name == "Eve"
        serving.record("identify", "Eve", 0.5)
        assert serving.remove("Eve") == 1
        with pytest.raises(LibraryError, match="may not") as raised:
            serving._store.rows("DROP TABLE people")
        assert raised.value.code == "library-permission"
        with raises_code("library-permission"):
            serving._store.rows("UPDATE audit SET who = ''")
    with SpeakerLibrary(postgres.replace("owner:", f"{reader}:"), encoder) as reading:
        assert reading.read_only
        assert reading.identify(clip_of(1))[0].name == "Person 1"
        with raises_code("library-read-only"):
            reading.remove("Person 1")
    with psycopg.connect(parse_address(postgres).conninfo, autocommit=True) as connection:
        for role in (service, reader):
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_tables_that_are_missing_are_told_of(
    library: SpeakerLibrary, postgres: str, encoder: Any
) -> None:
    execute(postgres, "DROP TABLE memberships")
    with raises_code("library-damaged"):
        library.people()


def test_who_writes_for_too_long_is_told_of(library: SpeakerLibrary, postgres: str) -> None:
    import psycopg

    with psycopg.connect(parse_address(postgres).conninfo) as connection:
        connection.execute(f"SET search_path = {parse_address(postgres).schema}, public")
        connection.execute("SELECT lock_library()")
        with (
            pytest.raises(LibraryError, match="another process has been writing for"),
            library._store.transaction(wait_s=0.05),
        ):
            pass
        assert library.identify(clip_of(0))[0].name == "Person 0"  # who reads waits for nobody
        library.record("identify", "Person 0", 0.5)  # nor who only notes what was asked
        assert library.audit_log(1)[0].score == 0.5


def test_connections_that_were_cut_are_made_anew(library: SpeakerLibrary, postgres: str) -> None:
    library.identify(clip_of(0))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    for _ in range(2):
        execute(postgres, cut)
        assert library.identify(clip_of(1))[0].name == "Person 1"
        execute(postgres, cut)
        library.register("Person 1", clip_of(1, 3))
    with raises_code("library-unreachable"), library._store.transaction() as database:
        execute(postgres, cut)
        database.execute("DELETE FROM people")
    assert library.num_people() == 3


def test_what_was_removed_is_in_no_row_any_more(library: SpeakerLibrary) -> None:
    library.remove("Person 1")
    for table in ("clips", "audio", "embeddings", "voiceprints", "people"):
        assert library._store.rows(f"SELECT count(*) FROM {table}") == [(2,)]


# ---- many people ----------------------------------------------------------------------------


@pytest.fixture
def crowd(encoder: Any, postgres: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A library that is taken for a large one, of which this gives the embeddings."""
    monkeypatch.setattr(postgres_search, "EXACT_PEOPLE", 100)
    vectors = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    with SpeakerLibrary(postgres, encoder) as library:
        library.register_embeddings([f"Person {k:03}" for k in range(300)], vectors)
        for k in range(8):
            library.set_groups(f"Person {k:03}", ["few"])
    return vectors


def test_many_people_are_searched_in_the_database_and_found_as_in_memory(
    crowd: np.ndarray, postgres: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    probes = crowd[:40] + 0.5 * rng.standard_normal((40, 16)).astype(np.float32)
    large = SpeakerLibrary(postgres, encoder)
    with monkeypatch.context() as patched:
        patched.setattr(postgres_search.PostgresIndex, "is_ready", lambda self: False)
        small = SpeakerLibrary(postgres, encoder)
        expected = [small.identify_embedding(probe, 3) for probe in probes]
        within = small.identify_embedding(probes[20], 20, within=["few"])
        one = small.match_embedding(probes[3], "Person 007")
    for probe, matches in zip(probes, expected, strict=True):
        for found, match in zip(large.identify_embedding(probe, 3), matches, strict=True):
            assert found.name == match.name
            assert found.score == pytest.approx(match.score, abs=1e-6)
            np.testing.assert_allclose(found.voiceprint, match.voiceprint, atol=1e-6)
            assert found.own_likeness == pytest.approx(match.own_likeness, abs=0.05)
            assert found.clip_own_likeness == pytest.approx(match.clip_own_likeness, abs=0.05)
    assert len(large._identification.voiceprints) == 0  # nothing was brought into memory
    found = large.identify_embedding(probes[20], 20, within=["few"])
    assert [match.name for match in found] == [match.name for match in within]
    assert large.match_embedding(probes[3], "Person 007").score == pytest.approx(
        one.score, abs=1e-6
    )


def test_who_wants_no_index_has_all_voiceprints_in_memory(
    crowd: np.ndarray, postgres: str, encoder: Any
) -> None:
    SpeakerLibrary(postgres, encoder).close()  # which made an index
    with SpeakerLibrary(f"{postgres}&index=none", encoder) as library:
        assert "index=none" in library.name
        assert library.identify_embedding(crowd[5])[0].name == "Person 005"
        assert len(library._identification.voiceprints) == 300


def test_a_search_in_the_database_follows_every_change(
    crowd: np.ndarray, postgres: str, encoder: Any
) -> None:
    library, other = SpeakerLibrary(postgres, encoder), SpeakerLibrary(postgres, encoder)
    new = np.eye(16, dtype=np.float32)[:1] * 3
    other.register_embeddings(["Eve"], new)
    assert library.identify_embedding(new[0])[0].name == "Eve"
    other.register_embeddings(["Eve"], np.eye(16, dtype=np.float32)[1:2])
    assert library.identify_embedding(new[0] + np.eye(16)[1])[0].score == pytest.approx(
        (3 + 1) / (np.sqrt(2) * np.sqrt(10)), abs=1e-5
    )
    other.remove("Eve")
    assert library.identify_embedding(new[0])[0].name != "Eve"
    library.remove("Person 005")
    assert other.identify_embedding(crowd[5])[0].name != "Person 005"
    assert len(other.identify_embedding(crowd[5], 299)) == 299
    assert len(other.identify_embedding(crowd[5], 1000)) == 299


def test_an_index_is_made_by_the_opening_that_needs_it_and_renewed_for_another_model(
    crowd: np.ndarray, postgres: str, encoder: Any
) -> None:
    query = "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'voiceprints_near_%' " + (
        "AND schemaname = current_schema()"
    )
    with SpeakerLibrary(postgres, encoder, read_only=True) as library:
        assert library._store.rows(query) == []
        assert library.identify_embedding(crowd[5])[0].name == "Person 005"
    with SpeakerLibrary(postgres, encoder) as library:
        (first,) = library._store.rows(query)
    with library._store.transaction() as database:
        database.execute("UPDATE embeddings SET fingerprint = 'another'")
        database.execute("UPDATE meta SET value = 'another' WHERE key = 'model'")
    encoder.fingerprint = "another"
    with SpeakerLibrary(postgres, encoder) as library:
        (second,) = library._store.rows(query)
        assert library.identify_embedding(crowd[5])[0].name == "Person 005"
    assert first != second
