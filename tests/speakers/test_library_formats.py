"""Clips put into a library by hand: any format, and a word about what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
from stand_in import RATE, clip_of, write_clip

from mvector.audio import read_audio
from mvector.cli.import_library import enrol_copies, find_clips_of_people
from mvector.speakers import SpeakerLibrary

KINDS = {"1.aif": "AIFF", "2.CAF": "CAF", "3.w64": "W64", "4.sph": "NIST", "5": "WAV"}


def people_in(folder: Path) -> Path:
    """Ada with a clip in each format, Bob with none that is known."""
    for name, kind in KINDS.items():
        write_clip(folder / "Ada" / "clip.wav", 1)
        samples = read_audio(folder / "Ada" / "clip.wav", RATE)
        with (folder / "Ada" / name).open("wb") as stream:
            soundfile.write(stream, samples, RATE, format=kind)
    (folder / "Ada" / "clip.wav").unlink()
    (folder / "Bob").mkdir()
    (folder / "Bob" / "1.xyz").write_text("no audio")
    (folder / "Bob" / "notes.txt").write_text("no audio")
    return folder


def test_clips_of_any_format_are_enrolled_and_others_are_named(
    tmp_path: Path, encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = people_in(tmp_path / "db")
    with SpeakerLibrary(folder, encoder) as library:
        assert [(p.name, p.num_clips) for p in library.people()] == [("Ada", len(KINDS))]
        assert library.identify(clip_of(1))[0].name == "Ada"
    (message,) = [m for m in caplog.messages if m.startswith("Passed over")]
    assert "1 file of no known audio format ('Bob/1.xyz')" in message
    assert message.endswith("No clip is found of 'Bob'.")


def test_a_clip_without_suffix_goes_with_its_person(tmp_path: Path, encoder: Any) -> None:
    folder = people_in(tmp_path / "db")
    with SpeakerLibrary(folder, encoder) as library:
        assert library.remove("Ada") == len(KINDS)
    assert not (folder / "Ada").exists()
    with SpeakerLibrary(folder, encoder) as library:
        assert library.names() == []


def test_clips_without_suffix_survive_an_export(tmp_path: Path, encoder: Any) -> None:
    with SpeakerLibrary(people_in(tmp_path / "db"), encoder) as library:
        library.export(tmp_path / "all.mvlib")
    file = tmp_path / "all.mvlib"
    with SpeakerLibrary.import_file(file, tmp_path / "new", encoder) as library:
        assert [(p.name, p.num_clips) for p in library.people()] == [("Ada", len(KINDS))]
        assert library.identify(clip_of(1))[0].name == "Ada"


def test_a_folder_of_other_software_may_be_in_any_format(
    tmp_path: Path, encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clips = find_clips_of_people(people_in(tmp_path / "old"))
    assert [path.name for path in clips["Ada"]] == [*KINDS]
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        enrol_copies(clips, library)
        assert library.names() == ["Ada"]
    (message,) = [m for m in caplog.messages if m.startswith("Passed over")]
    assert message.endswith("No clip is found of 'Bob'.")
