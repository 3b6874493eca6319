"""``score_diarization.py``: a table for people, an object for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mvector.cli import run_script


def rttm(path: Path, *turns: str) -> str:
    """A file of ``recording start duration speaker``."""
    rows = [turn.split() for turn in turns]
    lines = [
        f"SPEAKER {r} 1 {at} {length} <NA> <NA> {who} <NA> <NA>\n" for r, at, length, who in rows
    ]
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [
        rttm(tmp_path / "ref.rttm", "call 0 8 Ada_L.", "call 8 2 Ben", "talk 0 10 Ben"),
        rttm(tmp_path / "hyp.rttm", "call 0 8 Ada_L.", "call 8 2 Speaker_1", "talk 0 10 Ada_L."),
    ]


def test_a_table_has_a_row_for_each_recording_and_one_for_all(
    files: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert run_script("score_diarization", files) == 0
    out, err = capsys.readouterr()
    title, header, _, *rows, note = out.splitlines()
    assert title == "Collar 0 s on either side, overlapping speech scored."
    assert header.split()[:3] == ["recording", "speech", "DER"]
    assert "named" not in header
    assert [row.split("  ")[0] for row in rows] == ["call", "talk", "in all"]
    assert note == "Number of people right in 2 of 2 recordings."
    assert err == ""


@pytest.mark.parametrize("kind", ["library", "file"])
def test_names_are_right_or_wrong_where_it_is_said_who_is_enrolled(
    kind: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if kind == "library":
        (tmp_path / "people" / "Ada L.").mkdir(parents=True)
    else:
        (tmp_path / "people").write_text("Ada L.\n")
    words = [*files, "--enrolled", str(tmp_path / "people")]
    assert run_script("score_diarization", words) == 0
    assert "strangers named" in capsys.readouterr().out
    assert run_script("score_diarization", [*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["recordings"]["call"]["named_error_rate"] == 0
    assert answer["recordings"]["talk"]["named_error_rate"] is None
    assert answer["total"]["named_strangers_rate"] == pytest.approx(10 / 12)


def test_where_nobody_who_speaks_is_enrolled_strangers_are_still_told_of(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "people" / "Zoe").mkdir(parents=True)
    (tmp_path / "people" / ".pending").mkdir()  # the library's own, and nobody
    words = [*files, "--enrolled", str(tmp_path / "people")]
    assert run_script("score_diarization", words) == 0
    assert "strangers named" in capsys.readouterr().out
    (tmp_path / "people" / "Zoe").rmdir()
    assert run_script("score_diarization", words) == 2
    assert "has no name" in capsys.readouterr().err


def test_collar_overlap_and_regions_are_those_of_the_options(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    uem = tmp_path / "parts.uem"
    uem.write_text("call 1 6 9\n")
    words = [*files, "--collar", "0.5", "--skip_overlap", "--uem", str(uem), "--json"]
    assert run_script("score_diarization", words) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["collar_s"], answer["skip_overlap"]) == (0.5, True)
    assert answer["recordings"].keys() == {"call"}
    assert answer["total"]["speech_s"] == pytest.approx(3 - 2 * 0.5)
    assert err == ("warning: Not scored, as the UEM does not have them: 1 recording (talk).\n")


def test_a_line_that_is_no_turn_is_one_sentence_and_exit_code_2(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    broken = tmp_path / "broken.rttm"
    broken.write_text("SPEAKER call 1 0 1 <NA> <NA> Ada <NA> <NA>\nSPEAKER call 1 0\n")
    assert run_script("score_diarization", [files[0], str(broken)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"score_diarization.py: error: {broken}, line 2: expected 'SPEAKER ")
    (tmp_path / "none.txt").write_text("\n")
    words = [*files, "--enrolled", str(tmp_path / "none.txt")]
    assert run_script("score_diarization", words) == 2
    assert "has no name" in capsys.readouterr().err
