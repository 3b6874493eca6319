"""Opening a library: what its path may be, who may read it, what a full disk leaves, no model."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_codes import raises_code
from small_settings import ROOT
from stand_in import clip_of, nobody, write_clip

from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary


@pytest.fixture
def folder(encoder: Any, tmp_path: Path) -> Path:
    """A library of three people, who are a group."""
    folder = tmp_path / "db"
    with SpeakerLibrary(folder, encoder) as library:
        for k in range(3):
            library.register(f"Person {k}", clip_of(k), groups=["all"])
    return folder


# ---- paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "is empty; name a folder"),
        ("  ", "is empty; name a folder"),
        ("a\0b", r"holds a NUL"),
        (7, "is text; this one is int"),
        ("file", "'file' is no folder"),
        ("link", "'link' is no folder"),
    ],
)
def test_a_path_that_can_be_no_library_is_one_sentence_and_nothing_is_written(
    encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    write_clip(tmp_path / "Ada" / "x.wav", 0)
    with pytest.raises(LibraryError, match=rf"^[^\n]*{told}[^\n]*$"):
        SpeakerLibrary(path, encoder)
    assert sorted(os.listdir()) == ["Ada", "file", "link"]


@pytest.mark.parametrize("end", ["with space?#%41", "K\udcf6nig", "名前"])
def test_any_other_path_works(encoder: Any, tmp_path: Path, end: str) -> None:
    path = f"/{tmp_path}/{end}"  # with two slashes at the beginning, too
    with SpeakerLibrary(path, encoder) as library:
        library.register("Ada", clip_of(0))
    with SpeakerLibrary(path, encoder, read_only=True) as library:
        assert library.identify(clip_of(0))[0].name == "Ada"
    assert os.listdir(tmp_path) == [end]


def test_only_who_may_make_a_library_makes_one(encoder: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "deep" / "db", tmp_path / "empty"):
        for options in ({"create": False}, {"read_only": True}):
            with raises_code("library-not-found"):
                SpeakerLibrary(path, encoder, **options)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    write_clip(tmp_path / "by hand" / "Ada" / "x.wav", 0)
    with SpeakerLibrary(tmp_path / "by hand", encoder, create=False) as library:
        assert library.names() == ["Ada"]


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_a_library_is_read_whatever_lies_where_its_log_has_to_be(
    folder: Path, encoder: Any, end: str
) -> None:
    (folder / f"voiceprints.db{end}").mkdir()
    with SpeakerLibrary(folder, encoder) as library:
        assert library.read_only
        assert library.identify(clip_of(1))[0].name == "Person 1"
    (folder / f"voiceprints.db{end}").rmdir()
    with SpeakerLibrary(folder, encoder) as library:
        assert library.register("Ada", clip_of(8))


@pytest.mark.parametrize("kind", ["folder", "broken link"])
def test_a_database_that_is_no_file_is_one_sentence(folder: Path, encoder: Any, kind: str) -> None:
    (folder / "voiceprints.db").unlink()
    if kind == "folder":
        (folder / "voiceprints.db").mkdir()
    else:
        (folder / "voiceprints.db").symlink_to("nowhere")
    with pytest.raises(LibraryError, match=rf"voiceprints.db' has to be .* and is a {kind}; move"):
        SpeakerLibrary(folder, encoder)


# ---- permissions ----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
@pytest.mark.parametrize("private", ["database", "folder"])
def test_a_library_that_another_user_keeps_private_says_so(
    encoder: Any, folder: Path, private: str
) -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        copy = Path(shutil.copytree(folder, Path(parent) / "db"))
        copy.chmod(0o700 if private == "folder" else 0o755)
        with nobody():
            for options in ({}, {"read_only": True}, {"create": False}):
                with pytest.raises(
                    LibraryError, match=r"permission to read .* is denied"
                ) as caught:
                    SpeakerLibrary(copy, encoder, **options)
                assert caught.value.code == "library-permission"


def test_what_is_written_is_forced_to_the_disk_on_macos_too(folder: Path) -> None:
    with SpeakerLibrary(folder, None) as library:
        for pragma, value in (("fullfsync", 1), ("checkpoint_fullfsync", 1), ("synchronous", 2)):
            assert library._store.rows(f"PRAGMA {pragma}") == [(value,)]


# ---- a full disk ----------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every transaction fail from now on, as SQLite does for want of room or of a lock."""

    def fail(message: str) -> None:
        from mvector.speakers import sqlite_store

        real = sqlite_store.committed

        def committed(database: sqlite3.Connection, begin: str) -> Any:
            if begin == "BEGIN IMMEDIATE":
                raise sqlite3.OperationalError(message)
            return real(database, begin)

        monkeypatch.setattr(sqlite_store, "committed", committed)

    return fail


@pytest.mark.parametrize("message", ["database or disk is full", "database is locked"])
def test_what_cannot_be_written_at_an_opening_waits_and_everybody_is_recognised(
    encoder: Any, folder: Path, full: Any, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    write_clip(folder / "New" / "x.wav", 7)
    shutil.rmtree(folder / "Person 2")
    with monkeypatch.context():
        full(message)
        with SpeakerLibrary(folder, encoder) as library:
            assert library.identify(clip_of(1))[0].name == "Person 1"
            with raises_code("library-unwritable"):
                library.register("Ada", clip_of(8))
    monkeypatch.undo()
    with SpeakerLibrary(folder, encoder) as library:
        assert library.names() == ["New", "Person 0", "Person 1"]


def test_an_opening_does_not_wait_to_note_times_of_files(folder: Path, encoder: Any) -> None:
    writer = sqlite3.connect(folder / "voiceprints.db", isolation_level=None)
    writer.execute("UPDATE clips SET stamp = ''")
    writer.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with SpeakerLibrary(folder, encoder) as library:
        assert library.identify(clip_of(1))[0].name == "Person 1"
    assert time.monotonic() - started < 10
    writer.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    if sys.platform != "linux" or shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs to mount a disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a disk here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def fill_up(file: Path) -> None:
    with open(file, "wb", 0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))


@pytest.mark.parametrize("last", ["closed", "killed"])
def test_a_disk_without_any_room_left_does_not_block_reading(
    encoder: Any, small_disk: Path, last: str
) -> None:
    folder = small_disk / "db"
    process = os.fork()
    if process == 0:
        library = SpeakerLibrary(folder, encoder)
        for k in range(3):
            library.register(f"Person {k}", clip_of(k))
        if last == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        library.close()
        os._exit(0)
    os.waitpid(process, 0)
    (folder / "voiceprints.db-shm").unlink(missing_ok=True)
    assert (folder / "voiceprints.db-wal").exists() == (last == "killed")
    fill_up(small_disk / "fill")
    with SpeakerLibrary(folder, encoder) as library:
        assert library.read_only
        assert library.identify(clip_of(1))[0].name == "Person 1"
        with raises_code("library-read-only"):
            library.register("Ada", clip_of(8))
    (small_disk / "fill").unlink()
    with SpeakerLibrary(folder, encoder) as library:
        library.register("Ada", clip_of(8))
        assert library.names() == ["Ada", "Person 0", "Person 1", "Person 2"]


def test_a_folder_that_takes_no_file_is_opened_read_only(
    encoder: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mvector.speakers.access.check_writable", full_disk)
    with SpeakerLibrary(folder, encoder) as library:
        assert library.read_only
        assert library.identify(clip_of(1))[0].name == "Person 1"


# ---- without a model ------------------------------------------------------------------------


def test_without_a_model_a_library_lists_removes_exports_and_imports(
    folder: Path, encoder: Any, tmp_path: Path
) -> None:
    write_clip(folder / "New" / "x.wav", 7)
    shutil.rmtree(folder / "Person 2")
    with SpeakerLibrary(folder, None) as library:
        assert library.names() == ["Person 0", "Person 1"]  # and not who is gone
        assert all(person.has_voiceprint for person in library.people())
        assert library.remove("Person 0") == 1
        library.export(tmp_path / "people.mvlib")
        for refused in (
            lambda: library.identify(clip_of(1)),
            lambda: library.identify_embedding(np.ones(16)),
            lambda: library.register("Ada", clip_of(8)),
            lambda: library.register_embeddings(["Ada"], np.ones((1, 16))),
            library.reembed,
        ):
            with raises_code("library-without-model"):
                refused()
    SpeakerLibrary.import_file(tmp_path / "people.mvlib", tmp_path / "new", None).close()
    with SpeakerLibrary(tmp_path / "new", encoder) as library:
        assert library.identify(clip_of(1))[0].name == "Person 1"
    with SpeakerLibrary(folder, encoder) as library:
        assert library.names() == ["New", "Person 1"]


def test_listing_does_not_even_import_torch(folder: Path) -> None:
    code = f"""
import sys
from mvector.cli import run_script
export = ["--export", {str(folder / "f")!r}]
for words in (["--list"], ["--audit"], ["--remove", "Person 0"], export):
    assert run_script("recognition", [*words, "--audio_db_path", {str(folder)!r}]) == 0
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


# ---- within groups --------------------------------------------------------------------------


def test_a_search_among_nobody_is_one_sentence(folder: Path, encoder: Any) -> None:
    with SpeakerLibrary(folder, encoder) as library:
        with pytest.raises(LibraryError, match=r"^within names no group; leave it out"):
            library.identify(clip_of(0), within=[])
        library.set_groups("Person 1", ["mute"])
        with library._store.transaction() as database:
            database.execute("UPDATE embeddings SET fingerprint = 'old' WHERE person = 2")
        assert library.identify(clip_of(0), within=["all"])[0].name == "Person 0"
        with pytest.raises(LibraryError, match=r"^Nobody of 'mute' in .* has a voiceprint"):
            library.identify(clip_of(1), within=["mute"])


# ---- a failed import ------------------------------------------------------------------------


def test_a_failed_import_leaves_nothing(folder: Path, encoder: Any, tmp_path: Path) -> None:
    with SpeakerLibrary(folder, encoder) as library:
        library.export(tmp_path / "good")
    with (
        zipfile.ZipFile(tmp_path / "good") as archive,
        zipfile.ZipFile(tmp_path / "bad", "w") as bad,
    ):
        for member in archive.namelist():  # the last clip is damaged
            data = archive.read(member)
            bad.writestr(member, data[::-1] if member == "clips/00000002" else data)
    (tmp_path / "there").mkdir()
    for file in ("bad", "gone", "there"):
        for new in (tmp_path / "deep" / "new", tmp_path / "there"):
            with pytest.raises(LibraryError, match=r"cannot be imported"):
                SpeakerLibrary.import_file(tmp_path / file, new, encoder)
    assert sorted(os.listdir(tmp_path)) == ["bad", "db", "good", "there"]
    assert os.listdir(tmp_path / "there") == []
