"""Lists are read whole or refused with the lines that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvector.data import read_list, write_list
from mvector.errors import DataError


def test_a_list_comes_back_as_written(tmp_path: Path) -> None:
    entries = [("dataset/a b/1.wav", 0), ("dataset/名前/2.flac", 1), ("c.wav", 0)]
    write_list(tmp_path / "list.txt", entries)
    assert (tmp_path / "list.txt").read_bytes().count(b"\n") == 3
    clips = read_list(tmp_path / "list.txt")
    assert list(zip(clips.paths, clips.labels.tolist(), strict=True)) == entries
    assert clips.num_speakers == 2


def test_windows_line_ends_blank_lines_and_a_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa.wav\t0\r\n\r\nb.wav\t1\r\n".encode())
    clips = read_list(tmp_path / "list.txt", root="data")
    assert clips.paths == [str(Path("data/a.wav")), str(Path("data/b.wav"))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.wav 0\n", "line 1: no tab between path and speaker number in 'a.wav 0'"),
        ("a.wav\t0\nb.wav\tBob\n", "line 2: the label 'Bob' is not a whole number"),
        ("a.wav\t1.5\n", "line 1: the label '1.5' is not a whole number"),
        ("a.wav\t-1\n", "line 1: the label -1 is negative"),
        ("a.wav\t0\nb.wav\t7\n", "line 2: the label 7 is out of range for num_speakers 3"),
        ("\t0\n", "line 1: no tab"),
        ("a.wav\t99999999999\n", "line 1: the label 99999999999 is no number of a speaker"),
        ("", "is empty"),
        ("\n \n", "is empty"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=words.replace("(", r"\(")) as caught:
        read_list(tmp_path / "list.txt", num_speakers=3)
    assert "list.txt" in str(caught.value)


def test_many_wrong_lines_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x\n" * 9)
    with pytest.raises(DataError, match=r"has 9 wrong lines: line 1: .*; and 4 more"):
        read_list(tmp_path / "list.txt")


def test_a_missing_list_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; create it with create_data\.py"):
        read_list(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="is a folder"):
        read_list(tmp_path)
    (tmp_path / "audio.txt").write_bytes(b"RIFF\xff\xfe\x80")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_list(tmp_path / "audio.txt")
