"""Whatever lies in a library's folders, it opens, lists and recognises, and tells of it once."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_in import clip_of, nobody, stored_clips, write_clip

from mvector.speakers import SpeakerLibrary
from mvector.speakers.names import folder_key, folder_name_for, person_of_folder


@pytest.fixture
def library(encoder: Any, tmp_path: Path) -> SpeakerLibrary:
    library = SpeakerLibrary(tmp_path / "db", encoder)
    for k in range(3):
        library.register(f"Person {k}", clip_of(k))
    return library


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list]:
    """The warnings since the last call."""

    def take() -> list[str]:
        lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        caplog.clear()
        return lines

    return take


def opened(library: SpeakerLibrary) -> SpeakerLibrary:
    library.close()
    return SpeakerLibrary(library.folder, library.encoder)


def staged(library: SpeakerLibrary, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enrol somebody as a process does that is killed behind its commit; the clip is pending."""
    with monkeypatch.context() as patched:
        patched.setattr("mvector.speakers.stored_clips.apply_committed_changes", lambda *_: None)
        clip = library.register(name, clip_of(9))
    assert clip is not None
    assert not clip.exists()
    return clip


# ---- in the place of a folder or a clip -----------------------------------------------------


OBSTACLES: dict[str, Callable[[Path], None]] = {
    "file": lambda place: place.write_text("notes"),
    "broken link": lambda place: place.symlink_to("nowhere"),
    "link to a folder": lambda place: place.symlink_to(place.parent.parent / "outside"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_clip_whose_folder_is_taken_before_it_was_placed_goes_to_another(
    library: SpeakerLibrary, monkeypatch: pytest.MonkeyPatch, told: Any, obstacle: str
) -> None:
    (library.folder.parent / "outside").mkdir()
    clip = staged(library, "Ada", monkeypatch)
    OBSTACLES[obstacle](library.folder / "Ada")
    again = opened(library)
    assert len([line for line in told() if "'Ada'" in line]) == 1
    assert again.identify(clip_of(9))[0].name == "Ada"
    assert f"%41%64%61/{clip.name}" in stored_clips(library.folder)
    assert os.listdir(library.folder.parent / "outside") == []
    assert opened(again).remove("Ada") == 1
    assert os.path.lexists(library.folder / "Ada")
    assert not (library.folder / "%41%64%61").exists()


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_person_whose_folder_was_replaced_stays_and_comes_back_with_it(
    library: SpeakerLibrary, told: Any, obstacle: str, encoder: Any
) -> None:
    (library.folder.parent / "outside").mkdir()
    place, aside = library.folder / "Person 1", library.folder.parent / "aside"
    place.rename(aside)
    OBSTACLES[obstacle](place)
    heard = encoder.heard
    again = opened(library)
    assert len(told()) == 1
    assert again.names() == ["Person 0", "Person 1", "Person 2"]
    assert again.identify(clip_of(1))[0].name == "Person 1"
    again.register("Person 1", clip_of(1, take=1))
    place.unlink()
    aside.rename(place)
    told()
    last = opened(again)
    assert told() == []
    assert {p.name: p.num_clips for p in last.people()}["Person 1"] == 2
    assert encoder.heard == heard + 2  # by the lines above alone


@pytest.mark.parametrize("kind", ["folder", "link", "device"])
def test_a_clip_replaced_by_something_else_is_told_of_and_passed_over(
    library: SpeakerLibrary, told: Any, kind: str
) -> None:
    (clip,) = (library.folder / "Person 1").glob("*.wav")
    outside = library.folder.parent / "outside.wav"
    clip.rename(outside)
    {
        "folder": clip.mkdir,
        "link": lambda: clip.symlink_to(outside),
        "device": lambda: os.mkfifo(clip),
    }[kind]()
    again = opened(library)
    assert any(clip.name in line and kind in line for line in told())
    assert again.identify(clip_of(1))[0].name == "Person 1"
    assert again.remove("Person 1") == 1
    assert os.path.lexists(clip)
    assert outside.read_bytes()
    assert opened(again).names() == ["Person 0", "Person 2"]


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_else_lies_among_pending_clips_stays_and_is_told_of(
    library: SpeakerLibrary, told: Any, kind: str
) -> None:
    outside = library.folder.parent / "letter.txt"
    outside.write_text("dear")
    place = library.folder / ".pending" / "0123456789abcdef.wav"
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(outside)
    else:
        place = place.with_name("letter.txt")
        place.write_text("dear")
    again = opened(library)
    assert [place.name in line for line in told()] == [True]
    again.register("Ada", clip_of(7))
    assert again.identify(clip_of(7))[0].name == "Ada"
    assert os.path.lexists(place)
    assert outside.exists()


def test_pending_clips_are_not_sought_behind_a_link(library: SpeakerLibrary, told: Any) -> None:
    outside = write_clip(library.folder.parent / "outside" / "0123456789abcdef.wav", 0)
    (library.folder / ".pending").rmdir()
    (library.folder / ".pending").symlink_to(outside.parent)
    again = opened(library)
    assert ".pending" in told()[0]
    assert again.identify(clip_of(1))[0].name == "Person 1"
    with pytest.raises(Exception, match=r"\.pending' has to be a folder of the library's"):
        again.register("Ada", clip_of(7))
    assert outside.exists()
    assert "Ada" not in again.names()


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
def test_a_folder_that_may_not_be_read_hides_nobody(
    library: SpeakerLibrary, told: Any, mode: int
) -> None:
    library.close()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "db"
        shutil.copytree(library.folder, folder)
        for path in [Path(parent), folder, *folder.rglob("*")]:
            os.chown(path, 65534 if os.geteuid() == 0 else -1, -1)
        (folder / "Person 1").chmod(mode)
        with nobody(), SpeakerLibrary(folder, library.encoder) as again:
            assert ["Person 1" in line for line in told()] == [True]
            assert again.names() == ["Person 0", "Person 1", "Person 2"]
            assert again.identify(clip_of(1))[0].name == "Person 1"
        (folder / "Person 1").chmod(0o700)


def test_names_that_are_no_utf_8_are_one_line_each(library: SpeakerLibrary, told: Any) -> None:
    root = os.fsencode(library.folder)
    os.mkdir(root + b"/K\xf6nig")
    for place in (b"/K\xf6nig/x.wav", b"/Person 0/\xff.wav"):
        with open(root + place, "wb") as stream:
            stream.write(clip_of(8))
    again = opened(library)
    lines = [line for line in told() if "UTF-8" in line]
    assert len(lines) == 2
    assert all(line.isprintable() and line.isascii() for line in lines)
    assert again.names() == ["Person 0", "Person 1", "Person 2"]


# ---- links and files of others --------------------------------------------------------------


def test_a_link_is_no_persons_folder(library: SpeakerLibrary, told: Any) -> None:
    """Nothing outside of the library is enrolled, written to or deleted."""
    outside = library.folder.parent / "dotfiles"
    letter = write_clip(outside / "letter.wav", 5)
    (library.folder / "carl").symlink_to(outside)
    again = opened(library)
    assert ["carl' is a link" in line for line in told()] == [True]
    assert "carl" not in again.names()
    clip = again.register("carl", clip_of(6))
    assert clip is not None
    assert clip.parent.name == "%63%61%72%6C"
    assert clip.is_file()
    assert again.remove("carl") == 1
    assert os.listdir(outside) == [letter.name]
    assert (library.folder / "carl").is_symlink()


def test_a_library_that_enrolled_through_a_link_keeps_the_person_and_removes_rows_alone(
    library: SpeakerLibrary, told: Any
) -> None:
    """As versions did that followed links."""
    outside = library.folder.parent / "dotfiles"
    (library.folder / "Person 1").rename(outside)
    (outside / ".bashrc").write_text("alias")
    (library.folder / "Person 1").symlink_to(outside)
    again = opened(library)
    assert again.identify(clip_of(1))[0].name == "Person 1"
    again.export(library.folder.parent / "people.mvlib")
    assert again.remove("Person 1") == 1
    assert sorted(path.suffix for path in outside.iterdir()) == ["", ".wav"]
    exported = library.folder.parent / "new"
    with SpeakerLibrary.import_file(
        library.folder.parent / "people.mvlib", exported, library.encoder
    ) as imported:
        assert imported.identify(clip_of(1))[0].name == "Person 1"
    assert len(stored_clips(exported)) == 2  # what lies outside is not exported


def test_a_removal_leaves_files_of_others_and_names_them(
    library: SpeakerLibrary, told: Any
) -> None:
    folder = library.folder / "Person 1"
    (folder / ".hidden").write_text("x")
    (folder / "notes.txt").write_text("x")
    assert library.remove("Person 1") == 1
    (line,) = told()
    assert line.endswith("stays, for it holds what the library did not enrol: .hidden, notes.txt.")
    assert sorted(os.listdir(folder)) == [".hidden", "notes.txt"]


def test_the_removal_of_several_clips_names_no_clip_of_the_same_removal(
    library: SpeakerLibrary, told: Any
) -> None:
    folder = library.folder / "Person 1"
    for seed in (11, 12):
        library.register("Person 1", clip_of(seed))
    assert len(list(folder.iterdir())) == 3
    assert library.remove("Person 1") == 3
    assert told() == []
    assert not folder.exists()


# ---- names ----------------------------------------------------------------------------------

OWN = [f"voiceprints.{end}" for end in ("db", "db-wal", "db-shm", "cache", "index", "damaged")]
DEVICES = ["CON", "nul", "COM1", "LPT9", "aux.txt", "Prn.tar.gz", "com¹", "CONIN$", "nul .x"]
ESCAPED = [*OWN, "VoicePrints.DB", ".pending", *DEVICES, "a.", "x<y>", 'q"', "a|b", "c:", "w?*"]


@pytest.mark.parametrize("name", ESCAPED)
def test_a_name_that_some_system_or_the_library_uses_is_escaped(name: str) -> None:
    folder = folder_name_for(name)
    assert folder != name
    assert "%" in folder
    assert person_of_folder(Path(folder)) == name


@pytest.mark.parametrize("name", ["Console", "auxiliary", "COM10", "Nulla", "voiceprints", "Zoë"])
def test_other_names_are_folders_as_they_are(name: str) -> None:
    assert folder_name_for(name) == name


def test_people_called_as_the_librarys_own_files_are_people(
    library: SpeakerLibrary, encoder: Any
) -> None:
    for k, name in enumerate(ESCAPED):
        library.register(name, clip_of(20 + k))
    again = opened(library)
    again.export(library.folder.parent / "people.mvlib")
    new = library.folder.parent / "new"
    with SpeakerLibrary.import_file(new.with_name("people.mvlib"), new, encoder) as imported:
        for one in (again, imported):
            assert set(one.names()) >= set(ESCAPED)
            assert one.identify(clip_of(20))[0].name == ESCAPED[0]
            assert one.remove(ESCAPED[0]) == 1
            assert (one.folder / "voiceprints.db").is_file()


SAME_FOLDER = [("Max", "max", "MAX"), ("STRASSE", "straße"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("con", "CON")]


@pytest.mark.parametrize("names", SAME_FOLDER)
def test_names_that_differ_by_case_are_people_with_folders_that_differ_by_more(
    encoder: Any, tmp_path: Path, names: tuple[str, ...]
) -> None:
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        for k, name in enumerate(names):
            library.register(name, clip_of(k))
            library.register(name, clip_of(k, take=1))
        library.export(tmp_path / "people.mvlib")
    (tmp_path / "db" / "voiceprints.db").unlink()
    with SpeakerLibrary(tmp_path / "db", encoder) as library:  # from the folders alone
        check_people_apart(library, names)
    with SpeakerLibrary.import_file(tmp_path / "people.mvlib", tmp_path / "new", encoder) as new:
        check_people_apart(new, names)


def check_people_apart(library: SpeakerLibrary, names: tuple[str, ...]) -> None:
    assert {person.name: person.num_clips for person in library.people()} == dict.fromkeys(names, 2)
    folders = {file.split("/")[0] for file in stored_clips(library.folder)}
    assert len({folder.upper().casefold() for folder in folders}) == len(folders) == len(names)
    for k, name in enumerate(names):
        assert library.identify(clip_of(k))[0].name == name


def test_names_that_share_a_folder_have_one_key() -> None:
    assert folder_key("Zo\u00eb") == folder_key("ZOE\u0308")
    assert folder_key("Max") != folder_key("Maxi")


def test_a_library_with_folders_as_earlier_versions_chose_them_keeps_them(
    encoder: Any, tmp_path: Path
) -> None:
    for k, name in enumerate(("Max", "max", "CON", "voiceprints.cache")):
        write_clip(tmp_path / name / "x.wav", k)
    with SpeakerLibrary(tmp_path, encoder) as library:
        for k, name in enumerate(("Max", "max", "CON", "voiceprints.cache")):
            clip = library.register(name, clip_of(k, take=1))
            assert clip is not None
            assert clip.parent == tmp_path / name
            assert library.identify(clip_of(k))[0].name == name


def test_a_clip_committed_for_a_name_of_the_librarys_own_is_placed_elsewhere(
    library: SpeakerLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions did not escape such names, and could not be opened any more."""
    clip = staged(library, "Ada", monkeypatch)
    library.close()
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        database.execute("UPDATE people SET name = 'voiceprints.db' WHERE name = 'Ada'")
        place = f"voiceprints.db/{clip.name}"
        database.execute("UPDATE clips SET file = ? WHERE file LIKE 'Ada/%'", (place,))
    database.close()
    again = SpeakerLibrary(library.folder, library.encoder)
    assert again.identify(clip_of(9))[0].name == "voiceprints.db"
    assert f"%76oiceprints.db/{clip.name}" in stored_clips(library.folder)


TO_THE_THIRD_FORMAT = """
DROP INDEX people_by_folder_key;
ALTER TABLE people DROP COLUMN folder_key;
ALTER TABLE embeddings DROP COLUMN low_edge_hz;
ALTER TABLE embeddings DROP COLUMN bandwidth_hz;
ALTER TABLE embeddings DROP COLUMN hole_share;
DROP TRIGGER audit_is_not_deleted;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit table is append-only'); END;
PRAGMA user_version = 3;
"""


def test_a_library_of_the_third_format_learns_which_folders_are_taken(
    library: SpeakerLibrary,
) -> None:
    library.close()
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        database.executescript(TO_THE_THIRD_FORMAT)
    database.close()
    with SpeakerLibrary(library.folder, library.encoder, read_only=True) as again:
        assert again.identify(clip_of(1))[0].name == "Person 1"
    with SpeakerLibrary(library.folder, library.encoder) as again:
        assert again.identify(clip_of(1))[0].name == "Person 1"
        clip = again.register("PERSON 1", clip_of(7))
        assert clip is not None
        assert clip.parent.name.startswith("%50%45")


def test_a_clip_that_was_tried_and_refused_does_not_wait_for_a_model(
    library: SpeakerLibrary, told: Any
) -> None:
    clip = library.folder / "Person 1" / "notes.wav"
    clip.write_bytes(b"no sound at all")
    library = opened(library)  # with the model, which cannot use it
    library.reembed()
    assert len([line for line in told() if "notes.wav" in line]) == 1
    library.close()
    SpeakerLibrary(library.folder, None).close()
    (line,) = told()
    assert line == (
        f"'{clip}' is not enrolled: it was tried and cannot be used; replace or delete it."
    )
    clip.write_bytes(clip_of(1, take=1))
    SpeakerLibrary(library.folder, None).close()
    (line,) = told()
    assert line.endswith("is opened with a model: 1 clip, new or changed.")
    with SpeakerLibrary(library.folder, library.encoder) as library:
        assert told() == []
        assert [person.num_clips for person in library.people()] == [1, 2, 1]
        query = "SELECT count(*) FROM meta WHERE key LIKE 'refused:%'"
        assert library._store.rows(query) == [(0,)]
