"""Turns and scored regions in files: what is read, what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from error_codes import raises_code

from mvector.diarization import Turn, read_rttm, read_uem, write_rttm, write_uem
from mvector.errors import DataError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_turns_are_read_by_recording_and_start(tmp_path: Path) -> None:
    file = written(
        tmp_path / "both.rttm",
        ";; made by hand\n"
        "SPKR-INFO call 1 <NA> <NA> <NA> unknown Ada <NA>\n"
        "SPEAKER call 1 2.5 1.25 <NA> <NA> Ben <NA> <NA>\n"
        "SPEAKER meeting\t1\t0\t3\t<NA>\t<NA>\tÇelik\t0.9\n"
        "\n"
        "SPEAKER call 2 0.5 2 <NA> <NA> Ada\r\n"
        "SPEAKER call 1 7 0.000 <NA> <NA> Ben <NA> <NA>\n",
    )
    assert read_rttm(file) == {
        "call": [Turn(0.5, 2.5, "Ada"), Turn(2.5, 3.75, "Ben")],
        "meeting": [Turn(0.0, 3.0, "Çelik")],
    }


def test_a_folder_is_read_as_one_file_of_all_its_recordings(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    written(tmp_path / "b.rttm", "SPEAKER b 1 0 1 <NA> <NA> Ada <NA> <NA>\n")
    written(tmp_path / "dev" / "a.rttm", "SPEAKER a 1 0 1 <NA> <NA> Ben <NA> <NA>\n")
    written(tmp_path / "notes.txt", "no turns\n")
    assert set(read_rttm(tmp_path)) == {"a", "b"}
    written(tmp_path / "dev" / "c.rttm", "SPEAKER b 1 4 1 <NA> <NA> Ben <NA> <NA>\n")
    with pytest.raises(DataError, match=r"'b' is in .*b\.rttm and in .*c\.rttm; leave one"):
        read_rttm(tmp_path)


def test_what_is_written_is_read_again_and_people_have_their_names(tmp_path: Path) -> None:
    turns = {
        "call": [
            Turn(0.0004, 2.25, "Speaker 1"),
            Turn(2.0, 3.5, "Speaker 2", name="Ada Lovelace", score=0.7, overlap=True),
        ]
    }
    write_rttm(tmp_path / "call.rttm", turns)
    assert (tmp_path / "call.rttm").read_text() == (
        "SPEAKER call 1 0.000 2.250 <NA> <NA> Speaker_1 <NA> <NA>\n"
        "SPEAKER call 1 2.000 1.500 <NA> <NA> Ada_Lovelace <NA> <NA>\n"
    )
    assert read_rttm(tmp_path / "call.rttm") == {
        "call": [Turn(0.0, 2.25, "Speaker_1"), Turn(2.0, 3.5, "Ada_Lovelace")]
    }


def test_nobody_speaks_in_an_empty_file(tmp_path: Path) -> None:
    write_rttm(tmp_path / "silence.rttm", {"silence": []})
    assert read_rttm(tmp_path / "silence.rttm") == {}


def test_scored_regions_are_written_and_read(tmp_path: Path) -> None:
    write_uem(tmp_path / "a.uem", {"call": [(10.0, 20.5), (0.0, 5.0)]})
    assert (tmp_path / "a.uem").read_text() == "call 1 10.000 20.500\ncall 1 0.000 5.000\n"
    assert read_uem(tmp_path / "a.uem") == {"call": [(0.0, 5.0), (10.0, 20.5)]}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("SPEEKER call 1 0 1 <NA> <NA> Ada", "'SPEEKER' is no type of RTTM line"),
        ("SPEAKER call 1 0 1 <NA> <NA>", "speaker <NA> <NA>', got 7 fields"),
        (
            "SPEAKER call 1 0 1 <NA> <NA> Ada B. Lovelace <NA> <NA>",
            "got 12 fields; a name must be one",
        ),
        ("SPEAKER call 1 zero 1 <NA> <NA> Ada", "the start 'zero' is no number of seconds"),
        ("SPEAKER call 1 0 -1 <NA> <NA> Ada", "the duration '-1' is no number of seconds"),
        ("SPEAKER call 1 0 nan <NA> <NA> Ada", "the duration 'nan'"),
        ("SPEAKER call 1 inf 1 <NA> <NA> Ada", "the start 'inf'"),
        ("SPEAKER call 1 0 1 <NA> <NA> <NA> <NA> <NA>", "the speaker is <NA>"),
    ],
)
def test_a_malformed_turn_is_named_by_file_and_line(
    tmp_path: Path, line: str, sentence: str
) -> None:
    good = "SPEAKER call 1 0 1 <NA> <NA> Ada <NA> <NA>\n"
    file = written(tmp_path / "bad.rttm", f"{good}{line}\n{good}")
    with pytest.raises(DataError, match=r"bad\.rttm, line 2: ") as caught:
        read_rttm(file)
    assert sentence in str(caught.value)
    assert caught.value.code == "turns-malformed"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("call 1 0", "expected 'recording channel start end', got 3 fields"),
        ("call 1 5 5", "the end 5 is not behind the start 5"),
        ("call 1 0 end", "the end 'end' is no number"),
    ],
)
def test_a_malformed_region_is_named_by_file_and_line(
    tmp_path: Path, line: str, sentence: str
) -> None:
    with pytest.raises(DataError, match=r"bad\.uem, line 1: ") as caught:
        read_uem(written(tmp_path / "bad.uem", line))
    assert sentence in str(caught.value)


def test_what_is_not_there_or_no_text_is_said(tmp_path: Path) -> None:
    with raises_code("turns-not-found"):
        read_rttm(tmp_path / "none.rttm")
    with raises_code("turns-not-found"):
        read_rttm(tmp_path)
    (tmp_path / "audio.rttm").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="not UTF-8"):
        read_rttm(tmp_path / "audio.rttm")
