"""Lists are read whole or refused with the lines that are wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mvector.cli import run_script
from mvector.config import load_config
from mvector.data import read_list, write_list
from mvector.data.lists import label_doubts
from mvector.data.loader import TrainingData
from mvector.errors import DataError, MVectorError
from mvector.scoring.trial_lists import read_trials


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
        (
            "a.wav 0\n",
            "line 1: no tab between path and speaker number in 'a.wav 0', but a space; put a tab "
            "in its place",
        ),
        ("my clip.wav, 0\n", "in 'my clip.wav, 0', but a comma; put a tab in its place"),
        ("a.wav;0\n", "in 'a.wav;0', but a semicolon; put a tab in its place"),
        ("a.wav\n", "in 'a.wav'."),
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
    (tmp_path / "clip.opus").touch()
    with pytest.raises(DataError, match=r"clip\.opus' is a clip, and a list of clips is needed"):
        read_list(tmp_path / "clip.opus")
    with pytest.raises(DataError, match="is a folder"):
        read_list(tmp_path)
    (tmp_path / "audio.txt").write_bytes(b"RIFF\xff\xfe\x80\0\0\0WAVE\1\0")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_list(tmp_path / "audio.txt")


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("gbk", "GBK"),
        ("gb18030", "GBK"),
        ("cp1252", "Windows-1252"),
    ],
)
@pytest.mark.parametrize("read", [read_list, read_trials, load_config])
def test_another_encoding_is_named(
    tmp_path: Path, encoding: str, name: str, read: Callable[[Path], object]
) -> None:
    word = "café" if encoding == "cp1252" else "说话人/语音"
    path = tmp_path / "file.txt"
    lines = {"read_trials": f"1 {word}/1.wav {word}/2.wav\n", "load_config": f"use_model: {word}\n"}
    path.write_text(lines.get(read.__name__, f"{word}/1.wav\t0\n"), encoding=encoding)
    with pytest.raises(MVectorError, match=rf"file.txt'? looks like {name}.*; save it as UTF-8"):
        read(path)


def test_one_wrong_line_is_one(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x\na.wav\t0\n")
    with pytest.raises(DataError, match=r"has 1 wrong line: line 1: "):
        read_list(tmp_path / "list.txt")


# ---- speakers ------------------------------------------------------------------------------------


def doubts(folder: Path, labels: list[int], num_speakers: int | None = None) -> list[str]:
    write_list(folder / "list.txt", [(f"{k}.wav", label) for k, label in enumerate(labels)])
    clips = read_list(folder / "list.txt")
    return label_doubts(clips, num_speakers or clips.num_speakers)


def test_classes_that_nobody_has_are_told_with_both_numbers(tmp_path: Path) -> None:
    assert doubts(tmp_path, [0, 1, 2, 2]) == []
    [gaps] = doubts(tmp_path, [10000, 11000, 12000, 13000, 14000, 15000])
    assert gaps.startswith("15,001 classes for 6 speakers in ")
    assert (
        "the labels, 10000 to 15000, have gaps; renumber them: python -m mvector inspect_data '"
        in gaps
    )
    [from_one] = doubts(tmp_path, [1, 2, 2])
    assert "3 classes for 2 speakers" in from_one
    assert "the labels, 1 to 2, begin at 1 and not at 0; renumber them" in from_one
    [too_many] = doubts(tmp_path, [0, 1, 2], num_speakers=300)
    assert "300 classes for 3 speakers" in too_many
    assert "leave dataset_conf.num_speakers 300 out" in too_many


def test_a_clip_under_two_labels_is_named(tmp_path: Path) -> None:
    entries = [("a.wav", 0), ("b.wav", 1), ("a.wav", 1), ("b.wav", 1)]
    write_list(tmp_path / "list.txt", entries)
    [told] = label_doubts(read_list(tmp_path / "list.txt"), 2)
    assert "1 clip of " in told
    assert "such as 'a.wav' under 0 and 1" in told


def test_a_training_says_what_is_strange_about_its_speakers(
    small_config: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = read_list(small_config["dataset_conf"]["train_list"])
    gaps = zip(clips.paths, (clips.labels * 10).tolist(), strict=True)
    write_list(tmp_path / "gaps.txt", gaps)
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "gaps.txt")
    TrainingData(load_config(small_config))
    TrainingData(load_config(small_config), rank=1, world_size=2)  # one process says it
    assert caplog.text.count("71 classes for 8 speakers in ") == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["7", "100", "7", "9"], [0, 2, 0, 1]), (["bob", "ann", "10"], [2, 1, 0])],
)
def test_speakers_are_numbered_from_0_in_the_order_of_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture, labels: list[str], expected: list[int]
) -> None:
    text = "".join(f"clip {k}.wav\t{label}\n" for k, label in enumerate(labels))
    (tmp_path / "odd.txt").write_text(text)
    words = [str(tmp_path / "odd.txt"), "--renumber", str(tmp_path / "train_list.txt")]
    assert run_script("inspect_data", words) == 0
    assert f"{len(set(labels))} speakers, numbered from 0" in capsys.readouterr().out
    found = read_list(tmp_path / "train_list.txt")
    assert found.labels.tolist() == expected
    assert list(found.paths) == [f"clip {k}.wav" for k in range(len(labels))]
    assert label_doubts(found, found.num_speakers) == []


def test_words_in_the_place_of_numbers_have_a_cure(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.wav\tann\nb.wav\tbob\n")
    with pytest.raises(
        DataError, match=r"'bob' is not a whole number; .*list.txt' --renumber OUT "
    ):
        read_list(tmp_path / "list.txt")


# ---- paths ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.sep == "\\", reason="there, these are the usual paths")
def test_paths_written_on_windows_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ann").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / "ann" / name).touch()
    (tmp_path / "list.txt").write_text("ann\\1.wav\t0\nann\\2.wav\t0\n")
    (tmp_path / "trials.txt").write_text("1 ann\\1.wav ann\\2.wav\n")
    assert list(read_list("list.txt").paths) == ["ann/1.wav", "ann/2.wav"]
    assert read_list("list.txt", root=tmp_path).paths[0] == f"{tmp_path}/ann/1.wav"
    assert read_trials("trials.txt").paths == ("ann/1.wav", "ann/2.wav")
    (tmp_path / "ann\\1.wav").touch()  # a name that holds a backslash is the file's
    assert read_list("list.txt").paths[0] == "ann\\1.wav"


def test_spaces_in_the_paths_of_trials_have_a_cure(tmp_path: Path) -> None:
    (tmp_path / "trials.txt").write_text("1 my clips/a.wav my clips/b.wav\n")
    with pytest.raises(DataError, match="separate the fields by tabs where a path holds spaces"):
        read_trials(tmp_path / "trials.txt")
    (tmp_path / "trials.txt").write_text("1\tmy clips/a.wav\tmy clips/b.wav\n")
    assert read_trials(tmp_path / "trials.txt").paths == ("my clips/a.wav", "my clips/b.wav")
