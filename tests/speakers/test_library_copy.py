"""A library copied from one store to another: all of it, resumed, and compared."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import forked
from s3_server import object_names
from stand_in import StandInEncoder, clip_of
from test_library_contract import check_whole

from mvector.cli import main
from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary, copying
from mvector.speakers.encryption import KEY_VARIABLE


@pytest.fixture
def folder(tmp_path: Path, encoder: Any) -> Path:
    """A library of six people; of one no audio is kept."""
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        for k in range(5):
            library.register(f"Person {k}", clip_of(k), metadata={"k": k}, groups=[f"g{k % 2}"])
        library.register("Person 1", clip_of(1, 1))
        library.keep_audio = False
        library.register("No Audio", clip_of(7))
        library.record("identify", "Person 0", 0.5)
    return tmp_path / "db"


def everything(place: str | Path) -> tuple[Any, ...]:
    """What of a library may not depend on where it is."""
    with SpeakerLibrary(place, StandInEncoder(), audit=False) as library:  # type: ignore[arg-type]
        found = library.identify(clip_of(1, 5), 6)
        scores = [(match.name, round(match.score, 6), match.quality) for match in found]
        entries = [entry for entry in library.audit_log() if entry.action != "copy"]
        return library.people(), scores, entries


def copy(source: str | Path, target: str | Path) -> copying.Copied:
    with SpeakerLibrary(source, None, audit=False) as ours, SpeakerLibrary(target, None) as theirs:
        return ours.copy_to(theirs)


def test_a_library_goes_to_postgresql_and_back_and_is_the_same(
    folder: Path, postgres: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["library", "copy", str(folder), postgres]) == 0
    said = capsys.readouterr().out
    assert "6 people with 7 clips and 7 embeddings" in said
    assert "not-to-be-told" not in said
    assert main(["library", "copy", postgres, str(tmp_path / "back"), "--json"]) == 0
    assert everything(folder) == everything(postgres) == everything(tmp_path / "back")


def test_a_library_goes_to_a_bucket_and_from_there_to_a_database_and_is_the_same(
    folder: Path, postgres: str, bucket: str, encoder: Any
) -> None:
    in_bucket, in_rows = f"{postgres}&clips={bucket}", f"{postgres}_rows"
    copied = copy(folder, in_bucket)
    assert (copied.num_people, copied.num_clips, copied.num_without_audio) == (6, 7, 0)
    assert len(object_names(bucket)) == 6
    assert copy(in_bucket, in_rows).num_without_audio == 0
    assert everything(folder) == everything(in_bucket) == everything(in_rows)
    with SpeakerLibrary(in_bucket, encoder) as library:
        library.remove("No Audio")  # so that each row has a clip
    assert sum(check_whole(in_bucket, encoder).values()) == 6


def test_a_copy_that_was_killed_goes_on_where_it_was(
    folder: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PEOPLE_AT_ONCE", 2)
    real, written = copying._write, list[str]()

    def write(*arguments: Any) -> int:
        if len(written) == 3:  # within the second transaction
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(arguments[-1].name)
        return real(*arguments)

    def cut_off() -> None:
        monkeypatch.setattr(copying, "_write", write)
        copy(folder, postgres)

    os.waitpid(forked(cut_off), 0)
    with SpeakerLibrary(postgres, None) as begun:
        assert begun.names() == ["No Audio", "Person 0"]
    assert copy(folder, postgres).num_new == 4
    assert everything(folder) == everything(postgres)


def test_who_changed_meanwhile_is_told_of_and_copied_by_another_run(
    folder: Path, postgres: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = copying._remove_others

    def meanwhile(change: Callable[[SpeakerLibrary], object]) -> None:
        def work(*arguments: Any) -> None:
            real(*arguments)
            with SpeakerLibrary(folder, encoder) as library:
                change(library)

        monkeypatch.setattr(copying, "_remove_others", work)
        with pytest.raises(LibraryError, match="differs from its library"):
            copy(folder, postgres)

    meanwhile(lambda library: library.register("Eve", clip_of(9)))
    meanwhile(lambda library: library.register("Person 3", clip_of(3, 2)))
    meanwhile(lambda library: library.set_groups("Person 2", ["night"]))
    meanwhile(lambda library: library.remove("Person 4"))
    monkeypatch.setattr(copying, "_remove_others", real)
    copied = copy(folder, postgres)
    assert (copied.num_people, copied.num_clips) == (6, 8)
    assert everything(folder) == everything(postgres)


def test_embeddings_of_all_models_go_along(folder: Path, postgres: str) -> None:
    other: Any = StandInEncoder(seed=1, embd_dim=24)
    with SpeakerLibrary(folder, other) as library:
        library.reembed()
    copy(folder, postgres)
    with SpeakerLibrary(postgres, other) as library:
        people = {person.name: person.has_voiceprint for person in library.people()}
        assert people == {"No Audio": False} | {f"Person {k}": True for k in range(5)}
        assert library.identify(clip_of(2))[0].name == "Person 2"
        query = "SELECT count(*) FROM embeddings GROUP BY fingerprint ORDER BY 1"
        assert library._store.rows(query) == [(1,), (6,)]


def test_an_encrypted_library_stays_encrypted(
    tmp_path: Path, postgres: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fernet = pytest.importorskip("cryptography.fernet").Fernet
    monkeypatch.setenv(KEY_VARIABLE, fernet.generate_key().decode())
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        library.register("Ada", clip_of(0))
    copy(tmp_path / "db", postgres)
    with SpeakerLibrary(postgres, encoder) as library:
        ((data,),) = library._store.rows("SELECT data FROM audio")
        assert b"RIFF" not in data
        assert library.identify(clip_of(0))[0].name == "Ada"
    assert check_whole(postgres, encoder) == {"Ada": 1}


def test_a_place_where_others_are_and_the_library_itself_are_refused(
    folder: Path, postgres: str, encoder: Any
) -> None:
    with SpeakerLibrary(postgres, encoder) as library:
        library.register("Eve", clip_of(9))
    with pytest.raises(LibraryError, match=r"People are enrolled in .* already"):
        copy(folder, postgres)
    with pytest.raises(LibraryError, match="is the library itself"):
        copy(postgres, postgres)
    with SpeakerLibrary(postgres, encoder) as library:
        assert library.names() == ["Eve"]


def test_a_library_is_not_copied_into_itself_nor_around_itself(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)  # in which an address would lie, were it a path
    assert main(["library", "copy", "postgresql://127.0.0.1:1/people", "."]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    for target in (folder / "copy", folder.parent):
        assert main(["library", "copy", str(folder), str(target)]) == 2
        assert "lie within each other" in capsys.readouterr().err
    assert not (folder / "copy").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["db"]


def test_a_clip_whose_audio_is_gone_goes_along_as_its_embedding(
    folder: Path, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SpeakerLibrary(folder, None) as ours, SpeakerLibrary(postgres, None) as theirs:
        (clip,) = (folder / "Person 2").glob("*.wav")
        clip.unlink()
        assert ours.copy_to(theirs).num_without_audio == 1
        assert "no audio any more" in caplog.text
        with pytest.raises(LibraryError, match="People are enrolled"):
            ours.copy_to(theirs)  # a copy that is done is a library of its own
    with SpeakerLibrary(postgres, StandInEncoder()) as copied:  # type: ignore[arg-type]
        match = copied.match_embedding(np.ones(16), "Person 2")
        assert match.voiceprint is not None
