"""The audit: best effort for questions, kept for some time, and printed."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_model import RATE, small_model, speech
from stand_in import StandInEncoder, clip_of

from mvector.audio import write_wav
from mvector.cli import run_script
from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary
from mvector.speakers.audit import acting_for


@pytest.fixture
def library(tmp_path: Path) -> SpeakerLibrary:
    library = SpeakerLibrary(tmp_path / "db", StandInEncoder())  # type: ignore[arg-type]
    library.register("Ada", clip_of(0))
    return library


def days_ago(days: float) -> str:
    then = datetime.now(timezone.utc) - timedelta(days=days)
    return then.isoformat(timespec="seconds")


def add_old_entries(library: SpeakerLibrary, days: list[float]) -> None:
    """As if they had been written before all others, and then."""
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        for age in sorted(days):
            query = """INSERT INTO audit (id, at, who, action)
                SELECT min(id) - 1, ?, 'me', 'old' FROM audit"""
            database.execute(query, (days_ago(age),))
    database.close()


def stored(library: SpeakerLibrary) -> list[str]:
    return [action for (action,) in library._store.rows("SELECT action FROM audit ORDER BY id")]


@pytest.mark.parametrize("kind", ["locked", "full"])
def test_a_recognition_is_answered_at_once_where_it_cannot_be_written_down(
    library: SpeakerLibrary,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = sqlite3.connect(library.folder / "voiceprints.db", isolation_level=None)
    if kind == "locked":
        writer.execute("BEGIN IMMEDIATE")
    else:
        (pages,) = library._store.rows("PRAGMA page_count")[0]
        library._store.rows(f"PRAGMA max_page_count = {pages}")
    started = time.monotonic()
    for _ in range(3):
        assert library.identify(clip_of(0))[0].name == "Ada"
        library.record("recognition", "Ada" * 4000, 0.9)
    assert time.monotonic() - started < 5  # and not three times 30 s
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert line.startswith("The audit misses what is asked now: ")
    assert kind == "full" or "writing for 0.2 s" in line
    writer.close()
    library._store.rows("PRAGMA max_page_count = 1000000")
    library.record("recognition", "Ada", 0.9)
    assert [entry.action for entry in library.audit_log()] == ["recognition", "register"]


def test_a_registration_waits_for_its_turn(library: SpeakerLibrary) -> None:
    """The short wait is that of questions alone."""
    library.record("recognition", "Ada", 0.9)
    writer = sqlite3.connect(
        library.folder / "voiceprints.db", isolation_level=None, check_same_thread=False
    )
    writer.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(1.0, writer.close)
    timer.start()
    library.register("Bob", clip_of(1))
    timer.join()
    assert library.names() == ["Ada", "Bob"]


def test_entries_go_after_ninety_days_or_as_many_as_are_asked_for(library: SpeakerLibrary) -> None:
    add_old_entries(library, [1, 20, 89, 91, 1000])
    assert [entry.action for entry in library.audit_log()] == ["register", *["old"] * 3]
    library.record("recognition")
    assert stored(library) == [*["old"] * 3, "register", "recognition"]
    library.close()
    with SpeakerLibrary(library.folder, library.encoder, audit_days=30) as again:
        again.record("recognition")
        assert stored(again) == [*["old"] * 2, "register", *["recognition"] * 2]
    with SpeakerLibrary(library.folder, library.encoder) as again:  # as it was said before
        add_old_entries(again, [31])
        again.record("recognition")
        assert stored(again).count("old") == 2
    for days in (0, -1, float("nan"), float("inf")):
        with pytest.raises(LibraryError, match="audit_days is a number of days above 0"):
            SpeakerLibrary(library.folder, library.encoder, audit_days=days)


def test_many_old_entries_go_a_thousand_at_a_time(library: SpeakerLibrary) -> None:
    add_old_entries(library, list(np.linspace(100, 200, 2500)))
    for left in (1500, 500, 0):
        library.record("recognition")
        assert stored(library).count("old") == left


def test_what_is_kept_can_still_not_be_deleted(library: SpeakerLibrary) -> None:
    add_old_entries(library, [1, 100])
    library.record("recognition")
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        for number in (0, 1, 2):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute("DELETE FROM audit WHERE id = ?", (number,))
    database.close()


def test_the_script_prints_the_audit_and_changes_nothing(
    library: SpeakerLibrary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(library.folder.parent)
    library.record("recognition", None, 0.25)
    library.record("recognition", "Ada", 0.75)
    entries = [entry.to_dict() for entry in library.audit_log()]
    library.close()
    before = (library.folder / "voiceprints.db").read_bytes()
    assert run_script("recognition", ["--audit", "2", "--audio_db_path", "db"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[2:6] == ["UTC", "recognition", "Ada", "0.7500"]
    assert second.split()[2:6] == ["UTC", "recognition", "-", "0.2500"]
    assert run_script("recognition", ["--audit", "--audio_db_path", "db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"audit": entries}
    assert (library.folder / "voiceprints.db").read_bytes() == before
    assert run_script("recognition", ["--audit", "--audio_db_path", "gone"]) == 2
    assert "There is no speaker library in 'gone'" in capsys.readouterr().err


def test_watching_notes_who_speaks_when_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    small_model(tmp_path / "model")
    write_wav("ada.wav", speech(0, 3.0), RATE)
    write_wav("long.wav", np.tile(speech(0, 3.0), 3), RATE)
    model: list[Any] = ["--model_path", "model", "--use_gpu", "False"]
    assert run_script("recognition", ["--register", "Ada", "ada.wav", *model]) == 0
    words = ["--watch", "long.wav", "--threshold", "-1", "--audit_days", "7", *model]
    assert run_script("recognition", [*words, "--hop_seconds", "1"]) == 0
    assert capsys.readouterr().out.count("Ada") > 3
    with SpeakerLibrary("audio_db", None) as library:
        assert [(e.action, e.name) for e in library.audit_log()] == [
            ("watch", "Ada"),
            ("register", "Ada"),
        ]
        assert library._store.rows("SELECT value FROM meta WHERE key = 'audit_days'") == [("7",)]


def test_entries_tell_for_whom_a_process_works(library: SpeakerLibrary) -> None:
    with acting_for("key 7f3a request 12"):
        library.register("Bob", clip_of(1))
    library.record("recognition", "Bob", 0.9)
    asked, enrolled = library.audit_log(2)
    assert enrolled.who == f"key 7f3a request 12, {asked.who}"
    assert "key" not in asked.who
