"""What a library promises when processes are killed, several write, or nothing can be written.

Processes are forked and use an encoder of a few lines of numpy, so that they start at once.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import forked, succeeded
from stand_in import StandInEncoder, clip_of, nobody, stored_clips, write_clip

from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

NUM_KILLS = int(os.environ.get("LIBRARY_KILLS", "20"))
NUM_ENROLLED = int(os.environ.get("LIBRARY_ENROLLED", "20"))


# ---- kill -9 --------------------------------------------------------------------------------


def churn(folder: Path, journal: int, seed: int) -> None:
    """Register and remove people for ever; a line before and behind each operation."""
    rng = random.Random(seed)
    with SpeakerLibrary(folder, StandInEncoder()) as library:  # type: ignore[arg-type]
        enrolled = set(library.names())
        while True:
            name = f"Person {rng.randrange(8)}"
            action = "remove" if name in enrolled and rng.random() < 0.5 else "register"
            os.write(journal, f"{action} {name}\n".encode())
            if action == "remove":
                library.remove(name)
                enrolled.discard(name)
            else:
                library.register(name, clip_of(rng.randrange(8), rng.randrange(1000)))
                enrolled.add(name)
            os.write(journal, b"done\n")


def replay(lines: list[str], counts: dict[str, int]) -> str | None:
    """Clips of each person by the acknowledged operations; returns the one that was cut off."""
    current = None
    for line in lines:
        if line != "done":
            current = line
            continue
        assert current is not None
        action, name = current.split(" ", 1)
        counts[name] = counts.get(name, 0) + 1 if action == "register" else 0
        current = None
    return current


def check_whole(folder: Path, encoder: Any) -> dict[str, int]:
    """Open the library and compare rows, files and embeddings; returns the clips of each person."""
    with SpeakerLibrary(folder, encoder) as library:
        found = {person.name: person.num_clips for person in library.people()}
    with sqlite3.connect(folder / "voiceprints.db") as database:
        rows = {file for (file,) in database.execute("SELECT file FROM clips")}
        (num_vectors,) = database.execute("SELECT count(*) FROM embeddings").fetchone()
        (num_removals,) = database.execute("SELECT count(*) FROM removals").fetchone()
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not database.execute("PRAGMA foreign_key_check").fetchall()
    database.close()
    assert rows == stored_clips(folder)
    assert (num_vectors, num_removals) == (len(rows), 0)
    return found


def test_kill_9_loses_nothing_acknowledged_and_leaves_no_orphan(
    encoder: Any, tmp_path: Path
) -> None:
    rng = random.Random(7)
    counts: dict[str, int] = {}
    cut_off = 0
    for kill in range(NUM_KILLS):
        reading, writing = os.pipe()
        process = forked(lambda seed=kill, end=writing: churn(tmp_path, end, seed))  # type: ignore[misc]
        os.close(writing)
        with open(reading, "rb") as stream:
            first = stream.readline()  # it is at work now
            time.sleep(rng.uniform(0.0, 0.05))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            lines = (first + stream.read()).decode().splitlines()
        heard = encoder.heard
        unfinished = replay(lines, counts)
        found = check_whole(tmp_path, encoder)
        assert encoder.heard == heard, "a clip without a row was taken for one put in by hand"
        if unfinished is not None:  # it happened or it did not
            cut_off += 1
            action, name = unfinished.split(" ", 1)
            either = {counts.get(name, 0), counts.get(name, 0) + 1 if action == "register" else 0}
            assert found.get(name, 0) in either
            counts[name] = found.get(name, 0)
        assert found == {name: count for name, count in counts.items() if count}
    assert cut_off > NUM_KILLS // 4


class Killed(BaseException):
    """Stands for a kill at a chosen line: nothing behind it may be needed."""


@pytest.mark.parametrize("moment", ["staged", "committed"])
def test_a_registration_cut_off_is_done_or_undone_by_the_next_opening(
    encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    library.register("Bob", clip_of(1))

    def killed(*_: object, **__: object) -> None:
        if moment == "staged":
            os.kill(os.getpid(), signal.SIGKILL)  # in the transaction, the clip is written
        raise Killed

    target = (
        "mvector.speakers.people.insert_clip"
        if moment == "staged"
        else ("mvector.speakers.stored_clips.apply_committed_changes")
    )

    def work() -> None:
        monkeypatch.setattr(target, killed)
        library.register("名" * 200, clip_of(0))

    library.close()
    assert not succeeded(forked(work))
    assert len(list((tmp_path / ".pending").iterdir())) == 1
    expected = {"Bob": 1} if moment == "staged" else {"Bob": 1, "名" * 200: 1}
    assert check_whole(tmp_path, encoder) == expected
    assert not list((tmp_path / ".pending").iterdir())


def test_a_removal_cut_off_behind_its_commit_is_finished_by_the_next_opening(
    encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    for k in range(2):
        library.register(f"Person {k}", clip_of(k))

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("mvector.speakers.stored_clips.apply_committed_changes", killed)
        with pytest.raises(Killed):
            library.remove("Person 0")
    library.close()
    assert list((tmp_path / "Person 0").glob("*.wav"))
    assert check_whole(tmp_path, encoder) == {"Person 1": 1}
    assert not (tmp_path / "Person 0").exists()


def test_a_removal_never_reaches_outside_of_the_library(encoder: Any, tmp_path: Path) -> None:
    outside = write_clip(tmp_path / "outside.wav", 0)
    SpeakerLibrary(tmp_path / "db", encoder).close()
    with sqlite3.connect(tmp_path / "db" / "voiceprints.db") as database:
        for file in ("../outside.wav", str(outside), "a/../../outside.wav", "x/../outside.wav"):
            database.execute("INSERT INTO removals VALUES (?)", (file,))
    database.close()
    SpeakerLibrary(tmp_path / "db", encoder).close()
    assert outside.exists()


# ---- several at once ------------------------------------------------------------------------


def test_two_processes_that_enrol_at_once_lose_nobody(encoder: Any, tmp_path: Path) -> None:
    def enrol(group: str) -> None:
        with SpeakerLibrary(tmp_path, StandInEncoder()) as library:  # type: ignore[arg-type]
            for k in range(NUM_ENROLLED):
                library.register(f"{group} {k}", clip_of(k))

    processes = [forked(lambda group=group: enrol(group)) for group in "AB"]  # type: ignore[misc]
    while os.waitpid(processes[0], os.WNOHANG)[0] == 0:  # others open and close it meanwhile
        SpeakerLibrary(tmp_path, encoder).close()
    assert succeeded(processes[1])
    expected = {f"{group} {k}": 1 for group in "AB" for k in range(NUM_ENROLLED)}
    assert check_whole(tmp_path, encoder) == expected
    assert encoder.heard == 0


# ---- nothing can be written -----------------------------------------------------------------


@pytest.fixture
def frozen(encoder: Any) -> Iterator[Path]:
    """A library that everybody can read and nobody can write to."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "db"
        with SpeakerLibrary(folder, encoder) as library:
            for k in range(3):
                library.register(f"Person {k}", clip_of(k), groups=["all"])
        paths = list(folder.rglob("*"))
        for path in [*paths, folder, Path(parent)]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in [folder, Path(parent), *paths]:
            path.chmod(0o755)


@pytest.mark.parametrize("asked_for", [True, False])
def test_a_library_that_cannot_be_written_to_lists_and_identifies(
    encoder: Any, frozen: Path, asked_for: bool
) -> None:
    with nobody(), SpeakerLibrary(frozen, encoder, read_only=asked_for) as library:
        assert library.read_only
        assert library.names() == [f"Person {k}" for k in range(3)]
        assert library.identify(clip_of(1), within=["all"])[0].name == "Person 1"
        library.record("identify", "Person 1", 0.9)  # nothing to write it to
        for change in (
            lambda: library.register("Eve", clip_of(4)),
            lambda: library.remove("Person 1"),
            lambda: library.set_groups("Person 1", []),
            library.reembed,
        ):
            with pytest.raises(LibraryError, match="is read-only: it can list and identify"):
                change()
        assert len(list(frozen.rglob("*.wav"))) == 3


def test_read_only_touches_nothing_even_where_it_could(encoder: Any, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no speaker library in"):
        SpeakerLibrary(tmp_path / "db", encoder, read_only=True)
    assert not (tmp_path / "db").exists()
    writer = SpeakerLibrary(tmp_path / "db", encoder)
    writer.register("Ada", clip_of(0))
    with SpeakerLibrary(tmp_path / "db", encoder, read_only=True) as reader:
        assert reader.identify(clip_of(0))[0].name == "Ada"
        writer.register("Bob", clip_of(1))
        assert reader.identify(clip_of(1))[0].name == "Bob"


@pytest.mark.parametrize("limit", ["clip", "database"])
def test_a_full_disk_is_one_sentence_and_changes_nothing(
    encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    library.register("Ada", clip_of(0))
    with monkeypatch.context() as patched:
        if limit == "clip":
            patched.setattr("os.fsync", lambda _: (_ for _ in ()).throw(full_disk()))
        else:
            (pages,) = library._store.rows("PRAGMA page_count")[0]
            library._store.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LibraryError, match=r"(?s)^[^\n]*disk is full[^\n]*$"):
            enrol_many(library, "Bob")
        library._store.rows("PRAGMA max_page_count = 1000000")
    num_bobs = sum(person.num_clips for person in library.people()) - 1
    assert library.identify(clip_of(0))[0].name == "Ada"
    library.close()
    assert check_whole(tmp_path, encoder) == {"Ada": 1, **({"Bob": num_bobs} if num_bobs else {})}


def enrol_many(library: SpeakerLibrary, name: str) -> None:
    for take in range(40):
        library.register(name, clip_of(1, take))


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_only_the_owner_can_read_what_is_stored(encoder: Any, tmp_path: Path) -> None:
    previous = os.umask(0o000)
    try:
        library = SpeakerLibrary(tmp_path, encoder)
        library.register("Ada", clip_of(0))
    finally:
        os.umask(previous)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4  # database, log, shared memory, clip
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    (tmp_path / "voiceprints.db").chmod(0o644)
    library.close()
    SpeakerLibrary(tmp_path, encoder).close()
    assert stat.S_IMODE((tmp_path / "voiceprints.db").stat().st_mode) == 0o600
