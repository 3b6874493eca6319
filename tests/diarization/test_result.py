"""Turns as other programs take them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code

from mvector.diarization import Turn, read_rttm
from mvector.diarization.result import Diarization, Speaker, clock, turns_of, with_overlaps
from mvector.diarization.writing import check_out_path, save_diarization

ADA = Speaker("Ada & co", 3.5, np.array([1.0, 0.0]), "Ada & co", "Ada & co", 0.71, 0.5, 0.2)
STRANGER = Speaker(
    "Speaker 1", 61.0, np.array([0.0, 1.0]), match="Ada & co", score=0.1, threshold=0.5
)
FOUND = Diarization(
    "talks/a b.wav",
    70.0,
    (Turn(0.0, 3.5, ADA.label, ADA.name, 0.71), Turn(3.25, 64.25, "Speaker 1", overlap=True)),
    (ADA, STRANGER),
    "f1",
    ("channel 1 is empty, channel 0 is heard",),
)


def test_it_prints_people_turns_and_what_to_mind() -> None:
    assert str(FOUND).splitlines() == [
        "2 people in 1:10.0",
        "  Ada & co  0:03.5  (0.7100, needs 0.5000)",
        "  Speaker 1  1:01.0  (nearest: Ada & co, 0.1000, needs 0.5000)",
        "0:00.0 - 0:03.5  Ada & co",
        "0:03.2 - 1:04.2  Speaker 1  (and somebody else)",
        "[channel 1 is empty, channel 0 is heard]",
    ]


def test_exclusive_turns_are_of_one_person_at_a_time() -> None:
    turns = [Turn(0, 4, "a"), Turn(1, 2, "b"), Turn(3, 6, "b"), Turn(8, 9, "a")]
    found = Diarization("r", 9.0, with_overlaps(turns), ()).exclusive()
    assert [(t.start_s, t.end_s, t.speaker, t.overlap) for t in found.turns] == [
        (0, 4, "a", False),
        (4, 6, "b", False),
        (8, 9, "a", False),
    ]


def test_turns_are_marked_where_somebody_else_speaks_for_a_tenth_of_a_second() -> None:
    turns = [Turn(0, 4, "a"), Turn(3, 5, "b"), Turn(4.95, 6, "a"), Turn(6, 7, "b")]
    assert [turn.overlap for turn in with_overlaps(turns)] == [True, True, False, False]


def test_a_short_pause_ends_no_turn_and_another_voice_does() -> None:
    places = np.array([[0, 1], [1.4, 2], [3, 4], [4.1, 4.5], [4.6, 5]])
    turns = turns_of((places, np.array([0, 0, 0, 1, 0])), [ADA, STRANGER], 0.5)
    assert [(t.start_s, t.end_s, t.label) for t in turns] == [
        (0, 2, "Ada & co"),
        (3, 4, "Ada & co"),
        (4.1, 4.5, "Speaker 1"),
        (4.6, 5, "Ada & co"),
    ]
    assert [turn.score for turn in turns] == [0.71, 0.71, None, 0.71]


def test_who_falls_in_and_goes_on_has_one_turn() -> None:
    floor = [[0, 5], [5, 9], [9.4, 12]]  # the second voice falls in at 4 s and, for a moment, at 10
    places = np.array([*floor, [4, 5], [10, 10.5]])
    turns = turns_of((places, np.array([0, 1, 0, 1, 1])), [ADA, STRANGER], 1.0)
    assert [(t.start_s, t.end_s, t.label) for t in turns] == [
        (0, 5, "Ada & co"),
        (4, 9, "Speaker 1"),
        (9.4, 12, "Ada & co"),
        (10, 10.5, "Speaker 1"),
    ]
    assert [turn.overlap for turn in with_overlaps(turns)] == [True] * 4


def test_a_clock_has_hours_where_there_are_any() -> None:
    assert [clock(s) for s in (0.04, 59.96, 61.5, 3725.0)] == [
        "0:00.0",
        "1:00.0",
        "1:01.5",
        "1:02:05.0",
    ]


SAVED = {
    "t.srt": "1\n00:00:00,000 --> 00:00:03,500\nAda & co\n\n"
    "2\n00:00:03,250 --> 00:01:04,250\nSpeaker 1\n",
    "t.vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:03.500\n<v Ada &amp; co>Ada &amp; co\n\n"
    "00:00:03.250 --> 00:01:04.250\n<v Speaker 1>Speaker 1\n",
    "t.csv": "start_s,end_s,speaker,name,score,overlap\n"
    "0.000,3.500,Ada & co,Ada & co,0.7100,0\n3.250,64.250,Speaker 1,,,1\n",
}


@pytest.mark.parametrize("name", SAVED)
def test_captions_and_tables(name: str, tmp_path: Path) -> None:
    save_diarization(FOUND, tmp_path / name)
    assert (tmp_path / name).read_text() == SAVED[name]


def test_rttm_names_the_recording_by_its_file(tmp_path: Path) -> None:
    save_diarization(FOUND, tmp_path / "t.rttm")
    (recording, turns), *_ = read_rttm(tmp_path / "t.rttm").items()
    assert (recording, [turn.speaker for turn in turns]) == ("a_b", ["Ada_&_co", "Speaker_1"])


def test_json_holds_all_of_it(tmp_path: Path) -> None:
    save_diarization(FOUND, tmp_path / "t.json")
    values = json.loads((tmp_path / "t.json").read_text())
    assert values == FOUND.to_dict()
    assert values["turns"][0]["name"] == values["speakers"][0]["name"] == "Ada & co"
    assert values["speakers"][1]["embedding"] == [0.0, 1.0]


def test_the_page_is_one_file_and_plays_the_recording(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(b"RIFF")
    save_diarization(FOUND, tmp_path / "t.html", str(tmp_path / "call.wav"))
    page = (tmp_path / "t.html").read_text()
    assert '<audio controls preload="metadata" src="data:audio/wav;base64,UklGRg=="' in page
    assert "Ada &amp; co" in page
    assert "Ada & co" not in page
    assert page.count("data-start=") == 4  # a bar and a line of the table for each turn
    assert "http" not in page.replace("https://www.w3.org", "")


def test_what_two_say_at_once_is_speech_once(tmp_path: Path) -> None:
    people = replace(ADA, time_s=40.0), replace(STRANGER, time_s=40.0)
    turns = with_overlaps([Turn(0, 40, "Ada & co"), Turn(20, 60, "Speaker 1")])
    save_diarization(Diarization("r", 100.0, turns, people), tmp_path / "t.html")
    assert "60\u00a0% of the recording" in (tmp_path / "t.html").read_text()


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_diarization(FOUND, tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_in_a_picture_is_no_formula(tmp_path: Path) -> None:
    name = r"$\frac b$"
    person = replace(FOUND.speakers[0], label=name)
    turns = tuple(replace(turn, speaker=name) for turn in FOUND.turns)
    odd = replace(FOUND, speakers=(person,), turns=turns)
    save_diarization(odd, tmp_path / "t.png")
    assert (tmp_path / "t.png").exists()


@pytest.mark.parametrize("suffix", [".rttm", ".html", ".png"])
def test_a_file_may_lie_in_folders_that_are_not_there_yet(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "new" / "one" / f"turns{suffix}"
    if suffix == ".png":
        pytest.importorskip("matplotlib", reason="draws the picture")
    save_diarization(FOUND, file)
    assert [*file.parent.iterdir()] == [file]


def test_what_cannot_be_written_is_refused_before_anything_is_heard(tmp_path: Path) -> None:
    with raises_code("usage"):
        check_out_path(tmp_path / "turns.doc")
    check_out_path(tmp_path / "new" / "one" / "turns.rttm")  # made when there is something in it
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "file").write_text("")
    with raises_code("data"):
        check_out_path(tmp_path / "file" / "turns.rttm")
