"""``tools/import_library.py``: folders of clips that other software left, enrolled anew."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_settings import ROOT
from stand_in import clip_of, stored_clips, write_clip

from mvector.cli.import_library import enrol_copies, enrol_embeddings, find_clips_of_people
from mvector.errors import DataError
from mvector.speakers import SpeakerLibrary


class Trap:
    """A pickle that tells when it is read."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("the pickle was read",))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    for number, name in enumerate(("Ada", "100%25", "名前")):
        for take in range(2):
            write_clip(folder / name / f"{take}.wav", number, take)
    (folder / "Ada" / "broken.wav").write_text("not audio")
    (folder / "audio_indexes.bin").write_bytes(pickle.dumps(Trap()))
    (folder / "Ada" / "notes.txt").touch()
    return folder


@pytest.mark.parametrize("enrol", [enrol_copies, enrol_embeddings])
def test_everybody_is_enrolled_once_however_often_it_runs(
    old: Path, encoder: Any, tmp_path: Path, enrol: Any
) -> None:
    clips = find_clips_of_people(old)
    for _ in range(2):
        keep_audio = enrol is enrol_copies
        with SpeakerLibrary(tmp_path / "db", encoder, keep_audio=keep_audio) as library:
            enrol(clips, library)
            assert [person.num_clips for person in library.people()] == [2, 2, 2]
    assert len(stored_clips(tmp_path / "db")) == (6 if enrol is enrol_copies else 0)
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        assert library.names() == ["100%25", "Ada", "名前"]
        assert library.identify(clip_of(2, take=1))[0].name == "名前"


def test_a_clip_that_cannot_be_used_is_told_by_its_own_path_and_leaves_no_copy(
    old: Path, encoder: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        enrol_copies(find_clips_of_people(old), library)
    broken = old / "Ada" / "broken.wav"
    assert f"'{broken}' cannot be used, and is left out." in caplog.messages
    caplog.clear()
    with SpeakerLibrary(tmp_path / "db", None) as library:
        assert library.names() == ["100%25", "Ada", "名前"]
    assert caplog.messages == []


def test_names_that_differ_by_case_get_folders_that_differ_by_more(
    encoder: Any, tmp_path: Path
) -> None:
    for number, name in enumerate(("Max", "max", "nul")):
        write_clip(tmp_path / "old" / name / "x.wav", number)
    clips = find_clips_of_people(tmp_path / "old")
    for _ in range(2):
        with SpeakerLibrary(tmp_path / "db", encoder) as library:
            enrol_copies(clips, library)
            assert library.names() == ["Max", "max", "nul"]
            assert [library.identify(clip_of(k))[0].name for k in range(3)] == library.names()
    folders = {file.split("/")[0] for file in stored_clips(tmp_path / "db")}
    assert folders == {"Max", "%6D%61%78", "%6Eul"}


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no clips; it needs one folder for each person"):
        find_clips_of_people(tmp_path)
    with pytest.raises(DataError, match="missing' does not exist; give the folder of the older"):
        find_clips_of_people(tmp_path / "missing")


def test_the_tool_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "tools" / "import_library.py"), "--help"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0
    assert "--no_audio" in run.stdout
