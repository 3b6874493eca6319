"""What every library promises, wherever it is: in a folder, or in PostgreSQL, or with its clips in
a folder or bucket beside that.

What folders and SQLite promise beyond that is in the other files of this folder.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_codes import raises_code
from processes import forked, succeeded
from s3_server import object_names
from stand_in import StandInEncoder, clip_of, stored_clips, write_clip

from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary, audit
from mvector.speakers.clip_objects import ClipObjects
from mvector.speakers.encryption import KEY_VARIABLE
from mvector.speakers.model_memory import model_of_library
from mvector.speakers.stored_clips import ClipFiles

NUM_KILLS = 6
NUM_PROCESSES = 4
NUM_ENROLLED = 6

Place = str | Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills what it forked")


@pytest.fixture(params=["folder", "postgres", "postgres and clips", "postgres and bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A library that is not there yet."""
    if request.param == "folder":
        return tmp_path / "db"
    if request.param == "postgres and bucket":
        return str(request.getfixturevalue("postgres_and_bucket"))
    address: str = request.getfixturevalue("postgres")
    if request.param == "postgres":
        return address
    (tmp_path / "clips").mkdir()
    return f"{address}&clips={tmp_path / 'clips'}"


@pytest.fixture
def other_place(place: Place, tmp_path: Path) -> Place:
    """Another one, in the same kind of store."""
    if isinstance(place, Path):
        return tmp_path / "other"
    return place.partition("&clips=")[0].replace("schema=library_", "schema=other_")


@pytest.fixture
def library(encoder: Any, place: Place) -> SpeakerLibrary:
    library = SpeakerLibrary(place, encoder)
    for k in range(3):
        library.register(f"Person {k}", clip_of(k), metadata={"k": k}, groups=[f"group {k % 2}"])
    library.register("Person 1", clip_of(1, take=1))
    return library


def check_whole(place: Place, encoder: Any) -> dict[str, int]:
    """Open the library: each row has its clip and embedding, and each clip has a row.

    The result is how many clips each person has.
    """
    with SpeakerLibrary(place, encoder) as library:
        rows = library._store.rows("SELECT file, sha256 FROM clips")
        for file, sha256 in rows:
            data = library._context.clips.read(file)
            assert data is not None
            assert hashlib.sha256(data).hexdigest() == sha256
        files = {file for file, _ in rows}
        clips = library._context.clips
        if isinstance(clips, ClipFiles):
            assert stored_clips(clips._folder) == files
        elif isinstance(clips, ClipObjects):
            assert object_names(clips._objects.address) == files
        else:
            assert {file for (file,) in library._store.rows("SELECT file FROM audio")} == files
        assert library._store.rows("SELECT count(*) FROM embeddings") == [(len(files),)]
        assert library._store.rows("SELECT count(*) FROM removals") == [(0,)]
        return {person.name: person.num_clips for person in library.people()}


# ---- people ---------------------------------------------------------------------------------


def test_who_is_enrolled_is_found_and_everything_about_them_is_kept(
    library: SpeakerLibrary, place: Place, encoder: Any
) -> None:
    library.close()
    heard = encoder.heard
    with SpeakerLibrary(place, encoder) as again:
        assert encoder.heard == heard
        assert again.names() == ["Person 0", "Person 1", "Person 2"]
        person = again.person("Person 1")
        assert (person.num_clips, person.groups, person.metadata) == (2, ("group 1",), {"k": 1})
        assert person.has_voiceprint
        assert [one.name for one in again.people(after="Person 0", most=1)] == ["Person 1"]
        assert (again.num_people(), again.num_people(["group 0"])) == (3, 2)
        matches = again.identify(clip_of(1, take=2), top_k=3)
        assert matches[0].name == "Person 1"
        assert [match.score for match in matches] == sorted(
            (match.score for match in matches), reverse=True
        )
        assert matches[0].quality is not None


def test_the_score_is_the_cosine_to_the_mean_of_unit_vectors(
    library: SpeakerLibrary, encoder: Any
) -> None:
    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    expected = unit(unit(encoder.embed(clip_of(1))) + unit(encoder.embed(clip_of(1, 1))))
    probe = unit(encoder.embed(clip_of(2, 5)))
    match = library.match_embedding(encoder.embed(clip_of(2, 5)), "Person 1")
    assert match.score == pytest.approx(float(expected @ probe), abs=1e-6)
    np.testing.assert_allclose(match.voiceprint, expected, atol=1e-6)


def test_every_change_is_heard_by_the_next_question_of_another_process(
    library: SpeakerLibrary, place: Place, encoder: Any
) -> None:
    other = SpeakerLibrary(place, StandInEncoder())  # type: ignore[arg-type]
    assert other.identify(clip_of(5))[0].name != "Eve"
    library.register("Eve", clip_of(5))
    assert other.identify(clip_of(5))[0].name == "Eve"
    library.set_groups("Eve", ["night"])
    assert other.identify(clip_of(0), within=["night"])[0].name == "Eve"
    assert library.remove("Eve") == 1
    assert "Eve" not in [match.name for match in other.identify(clip_of(5), 9)]
    with raises_code("group-not-found"):
        other.identify(clip_of(5), within=["night"])
    with raises_code("speaker-not-found"):
        other.match_embedding(np.ones(16), "Eve")


def test_groups_and_metadata_change_together_or_not_at_all(library: SpeakerLibrary) -> None:
    library.register("Person 0", clip_of(0, 1), metadata={"more": [1]}, groups=["night"])
    assert library.person("Person 0").metadata == {"k": 0, "more": [1]}
    assert library.person("Person 0").groups == ("group 0", "night")
    with raises_code("name-invalid"):
        library.change("Person 0", metadata={"new": 1}, groups=[""])
    assert library.person("Person 0").metadata == {"k": 0, "more": [1]}
    library.change("Person 0", metadata={"new": 1}, groups=["day"])
    person = library.person("Person 0")
    assert (person.metadata, person.groups) == ({"new": 1}, ("day",))


@pytest.mark.parametrize(
    "name", ["../../etc", "日本語 ☃", "Robert'); DROP TABLE people;--", "50 % ? $1", 'a\\b"c']
)
def test_any_name_is_data(encoder: Any, place: Place, name: str) -> None:
    with SpeakerLibrary(place, encoder) as library:
        library.register(name, clip_of(0), groups=[name], metadata={name: name})
        assert library.names() == [name]
        assert library.identify(clip_of(0), within=[name])[0].name == name
        assert library.person(name).metadata == {name: name}
        with raises_code("speaker-not-found"):
            library.person(f"{name}\0")
        library.remove(name)
    assert check_whole(place, encoder) == {}


def test_a_name_is_that_of_another_person_only_if_it_can_be_seen(
    library: SpeakerLibrary,
) -> None:
    library.register("Person\u200b 0", clip_of(0, take=1))
    assert library.person("\u200ePerson 0\u00ad").num_clips == 2
    library.set_groups("Person 0", ["staff", "st\u200baff"])
    assert library.person("Person 0").groups == ("staff",)


def test_a_file_that_comes_twice_at_once_is_enrolled_once_and_told_of(
    place: Place, encoder: Any, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "a.wav", 0)
    copy = write_clip(tmp_path / "copy.wav", 0)
    with SpeakerLibrary(place, encoder) as library:
        clips = [("Ada", clip), ("Ada", copy), ("Bob", copy), ("Ada", clip)]
        twice, again = library.register_files(clips)
        assert twice == f"'{copy}' is the same clip as '{clip}', and counts once."
        assert again == f"'{clip}' is the same clip as '{clip}', and counts once."
        assert {one.name: one.num_clips for one in library.people()} == {"Ada": 1, "Bob": 1}


def test_embeddings_alone_can_be_enrolled(place: Place, encoder: Any) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 16)).astype(np.float32)
    with SpeakerLibrary(place, encoder) as library:
        library.register_embeddings([f"Person {k % 30:02}" for k in range(40)], vectors)
        assert library.num_people() == 30
        assert library.person("Person 05").num_clips == 2
        found = library.identify_embedding(vectors[20])[0]
        assert (found.name, found.score) == ("Person 20", pytest.approx(1.0, abs=1e-6))
        with pytest.raises(LibraryError, match="has no direction"):
            library.register_embeddings(["A", "B"], np.zeros((2, 16)))
        assert library.num_people() == 30


def test_without_audio_nothing_is_stored_of_the_clip(place: Place, encoder: Any) -> None:
    with SpeakerLibrary(place, encoder, keep_audio=False) as library:
        assert library.register("Ada", clip_of(0)) is None
        assert library.identify(clip_of(0))[0].name == "Ada"
        assert library._store.rows("SELECT file FROM clips") == [(None,)]


# ---- kills and crowds -----------------------------------------------------------------------


def test_kill_9_leaves_whole_rows_and_loses_nothing_acknowledged(
    place: Place, encoder: Any
) -> None:
    rng, counts = random.Random(7), dict[str, int]()
    SpeakerLibrary(place, encoder).close()

    def enrol(journal: int, kill: int) -> None:
        with SpeakerLibrary(place, StandInEncoder()) as library:  # type: ignore[arg-type]
            for take in range(1000):
                name = f"Person {take % 5}"
                if take % 7 == 6:
                    library.remove(name)
                    os.write(journal, f"remove {name}\n".encode())
                else:
                    library.register(name, clip_of(take % 5, 1000 * kill + take))
                    os.write(journal, f"register {name}\n".encode())

    for kill in range(NUM_KILLS):
        reading, writing = os.pipe()
        process = forked(lambda end=writing, kill=kill: enrol(end, kill))  # type: ignore[misc]
        os.close(writing)
        with open(reading, "rb") as stream:
            first = stream.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            done = (first + stream.read()).decode().split("\n")[:-1]
        for line in done:
            action, name = line.split(" ", 1)
            counts[name] = counts.get(name, 0) + 1 if action == "register" else 0
        found = check_whole(place, encoder)
        differing = [
            name for name in {*counts, *found} if counts.get(name, 0) != found.get(name, 0)
        ]
        assert len(differing) <= 1  # what was not acknowledged happened or it did not
        for name in differing:
            assert found.get(name, 0) in (0, counts.get(name, 0) + 1)
        counts = dict(found)
    assert encoder.heard == 0


def test_four_processes_enrol_and_identify_at_once_and_nothing_is_lost(
    place: Place, encoder: Any
) -> None:
    def enrol(group: int) -> None:
        with SpeakerLibrary(place, StandInEncoder()) as library:  # type: ignore[arg-type]
            for k in range(NUM_ENROLLED):
                number = NUM_ENROLLED * group + k
                library.register(f"Person {number}", clip_of(number))
                assert library.identify(clip_of(number))[0].name == f"Person {number}"

    processes = [forked(lambda group=group: enrol(group)) for group in range(NUM_PROCESSES)]  # type: ignore[misc]
    assert [succeeded(process) for process in processes] == [True] * NUM_PROCESSES
    expected = {f"Person {k}": 1 for k in range(NUM_PROCESSES * NUM_ENROLLED)}
    assert check_whole(place, encoder) == expected
    assert encoder.heard == 0


def test_threads_share_a_library_and_a_fork_may_go_on_with_it(place: Place, encoder: Any) -> None:
    library, failures = SpeakerLibrary(place, encoder), list[BaseException]()

    def work(number: int) -> None:
        try:
            for take in range(3):
                library.register(f"Person {number}", clip_of(number, take))
                assert library.identify(clip_of(number, take))[0].name == f"Person {number}"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert succeeded(forked(lambda: library.register("Forked", clip_of(9)) and None))
    library.register("Behind it", clip_of(8))
    assert library.identify(clip_of(9))[0].name == "Forked"
    assert sum(person.num_clips for person in library.people()) == 14


# ---- models, encryption, audit, files -------------------------------------------------------


def test_voiceprints_of_another_model_are_never_compared(
    library: SpeakerLibrary, place: Place
) -> None:
    library.keep_audio = False
    library.register("No Audio", clip_of(7))
    other: Any = StandInEncoder(seed=1, embd_dim=24)
    upgraded = SpeakerLibrary(place, other)
    for refused in (
        lambda: upgraded.identify(clip_of(0)),
        lambda: upgraded.register("Eve", clip_of(4)),
        lambda: upgraded.register_embeddings(["Eve"], np.ones((1, 24))),
    ):
        with raises_code("library-of-another-model"):
            refused()
    assert library.identify(clip_of(2))[0].name == "Person 2"
    assert upgraded.reembed() == 4
    assert upgraded.identify(clip_of(1))[0].name == "Person 1"
    people = {person.name: person.has_voiceprint for person in upgraded.people()}
    assert people == {"No Audio": False, "Person 0": True, "Person 1": True, "Person 2": True}
    with raises_code("library-of-another-model"):
        library.identify(clip_of(0))
    with raises_code("library-model-missing"):  # which was in no folder, and is in no other
        model_of_library(place, [])


def test_a_damaged_embedding_is_computed_anew(
    library: SpeakerLibrary, place: Place, encoder: Any
) -> None:
    with library._store.transaction() as database:
        query = "UPDATE embeddings SET vector = ? WHERE clip = (SELECT min(id) FROM clips)"
        database.execute(query, (bytes(64),))
    heard = encoder.heard
    assert library.identify(clip_of(0))[0].name == "Person 0"
    assert encoder.heard == heard + 2  # the probe, and the clip
    with SpeakerLibrary(place, encoder) as again:
        assert again.identify(clip_of(0))[0].score > 0.9


def test_a_key_encrypts_clips_and_embeddings_and_opens_them_again(
    place: Place, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fernet = pytest.importorskip("cryptography.fernet").Fernet
    key = fernet.generate_key().decode()
    monkeypatch.setenv(KEY_VARIABLE, key)
    with SpeakerLibrary(place, encoder) as library:
        library.register("Ada", clip_of(0))
        library.register("Bob", clip_of(1))
        ((file, vector),) = library._store.rows(
            "SELECT file, vector FROM clips JOIN embeddings ON clip = clips.id "
            "JOIN people ON people.id = clips.person WHERE name = 'Ada'"
        )
        assert len(vector) > 64
        assert b"RIFF" not in (library._context.clips.read(file) or b"RIFF")
        if not isinstance(place, Path):
            assert library._store.rows("SELECT count(*) FROM voiceprints") == [(0,)]
    with SpeakerLibrary(place, encoder) as library:
        assert library.identify(clip_of(0))[0].name == "Ada"
    other: Any = StandInEncoder(seed=1)
    with SpeakerLibrary(place, other) as library:
        assert library.reembed() == 2
    for wrong in (fernet.generate_key().decode(), ""):
        monkeypatch.setenv(KEY_VARIABLE, wrong)
        with raises_code("library-key"):
            SpeakerLibrary(place, other)


def test_the_audit_tells_who_did_what_and_cannot_be_rewritten(
    library: SpeakerLibrary, place: Place
) -> None:
    with audit.acting_for("key 7f3a"):
        library.record("identify", "Person 0", 0.5)
    library.remove("Person 2")
    newest = library.audit_log(2)
    assert [(one.action, one.name, one.score) for one in newest] == [
        ("remove", "Person 2", None),
        ("identify", "Person 0", 0.5),
    ]
    assert newest[1].who.startswith("key 7f3a, ")
    assert library.num_done_for(["key 7f3a"], "identify") == 1
    others = (["key 7f3"], "identify"), (["key 7f3a"], "register"), ([], "identify")
    assert [library.num_done_for(*other) for other in others] == [0, 0, 0]
    for statement in ("UPDATE audit SET who = 'nobody'", "DELETE FROM audit"):
        with (
            pytest.raises(LibraryError, match="append-only"),
            library._store.transaction() as database,
        ):
            database.execute(statement)
    assert len(library.audit_log()) == 6


def test_an_exported_library_is_the_same_when_imported(
    library: SpeakerLibrary, place: Place, other_place: Place, encoder: Any, tmp_path: Path
) -> None:
    library.export(tmp_path / "people.mvlib")
    heard = encoder.heard
    with SpeakerLibrary.import_file(tmp_path / "people.mvlib", other_place, encoder) as copy:
        assert copy.people() == library.people()
        for ours, theirs in zip(
            library.identify(clip_of(1, 5), 3), copy.identify(clip_of(1, 5), 3), strict=True
        ):
            assert (theirs.name, theirs.score) == (ours.name, pytest.approx(ours.score, abs=1e-6))
    assert encoder.heard == heard + 2
    assert check_whole(other_place, encoder) == check_whole(place, encoder)
    (tmp_path / "broken.mvlib").write_bytes((tmp_path / "people.mvlib").read_bytes()[:-500])
    new = other_place / "new" if isinstance(other_place, Path) else f"{other_place}_new"
    with pytest.raises(LibraryError, match="cannot be imported"):
        SpeakerLibrary.import_file(tmp_path / "broken.mvlib", new, encoder)
    with raises_code("library-not-found"):
        SpeakerLibrary(new, None, create=False)


def test_read_only_lists_and_identifies_and_changes_nothing(
    library: SpeakerLibrary, place: Place, encoder: Any
) -> None:
    with SpeakerLibrary(place, encoder, read_only=True) as reading:
        assert reading.read_only
        assert reading.identify(clip_of(1))[0].name == "Person 1"
        changes: list[Callable[[], object]] = [
            lambda: reading.register("Eve", clip_of(4)),
            lambda: reading.remove("Person 0"),
            lambda: reading.set_groups("Person 0", []),
        ]
        for change in changes:
            with raises_code("library-read-only"):
                change()
    assert library.num_people() == 3


def test_only_enrolling_makes_a_library(place: Place, encoder: Any) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with raises_code("library-not-found"):
            SpeakerLibrary(place, encoder, **options)  # type: ignore[arg-type]
    assert model_of_library(place, []) is None
    with SpeakerLibrary(place, encoder) as library, raises_code("library-empty"):
        library.identify(clip_of(0))
