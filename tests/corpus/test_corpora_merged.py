"""``--merge``: finished lists joined, without the audio."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_trees import by_path, create, in_a_fresh_folder, lines_of  # noqa: F401
from error_codes import raises_code

from mvector.cli import run_script
from mvector.cli.options import OptionError
from mvector.errors import DataError


def write_list(path: str, **label_of: int) -> None:
    """Lines ``<name>.wav<TAB>label``; no such clip exists."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}.wav\t{label}\n" for name, label in label_of.items())
    Path(path).write_text(lines, encoding="utf-8")


def merge(*sources: str, output: str = "all") -> None:
    create("--merge", *sources, f"--output={output}")


class TestLists:
    def test_speakers_of_each_list_get_numbers_of_their_own_without_gaps(self, capsys):
        write_list("a/train_list.txt", a1=0, a2=0, b1=1)
        write_list("b/some_list.txt", x1=7, y1=3, x2=7)  # a list with gaps, as made by hand
        merge("a/train_list.txt", "b/some_list.txt")
        assert lines_of("all/train_list.txt") == [
            "a1.wav\t0",
            "a2.wav\t0",
            "b1.wav\t1",
            "x1.wav\t3",
            "y1.wav\t2",
            "x2.wav\t3",
        ]
        assert "training           4         6" in capsys.readouterr().out

    def test_names_may_hold_spaces_and_chinese_and_lists_windows_line_ends(self):
        Path("a.txt").write_bytes("语音/张 三.wav\t0\r\n".encode())
        Path("b.txt").write_bytes("\ufeffb.wav\t0\r\n".encode())
        merge("a.txt", "b.txt")
        assert by_path("all/train_list.txt") == {"语音/张 三.wav": 0, "b.wav": 1}

    def test_a_clip_in_two_lists_is_refused_and_nothing_is_written(self):
        write_list("a.txt", a=0, b=1)
        write_list("b.txt", c=0, **{"./b": 0})
        with pytest.raises(DataError, match=r"1 clip listed twice.*'./b.wav', in 'a.txt' and"):
            merge("a.txt", "b.txt")
        assert not os.listdir("all")

    def test_a_clip_repeated_within_a_list_is_kept_once_with_a_warning(self, caplog):
        Path("a.txt").write_text("a.wav\t0\n./a.wav\t0\nb.wav\t1\n")
        write_list("b.txt", c=0)
        merge("a.txt", "b.txt")
        assert by_path("all/train_list.txt") == {"a.wav": 0, "b.wav": 1, "c.wav": 2}
        assert "Left out of 'a.txt': 1 line with a clip listed before" in caplog.text

    def test_a_clip_of_two_speakers_is_refused(self):
        Path("a.txt").write_text("a.wav\t0\na.wav\t1\n")
        write_list("b.txt", c=0)
        with pytest.raises(DataError, match=r"'a.wav' is of two speakers in 'a.txt', 1 and 0"):
            merge("a.txt", "b.txt")

    def test_a_source_is_never_overwritten(self):
        write_list("all/train_list.txt", a=0)
        write_list("b.txt", b=0)
        with pytest.raises(DataError, match=r"would overwrite 'all/train_list.txt'"):
            merge("all/train_list.txt", "b.txt")
        assert lines_of("all/train_list.txt") == ["a.wav\t0"]

    def test_a_missing_or_malformed_list_is_named(self):
        write_list("a.txt", a=0)
        with raises_code("list-not-found"):
            merge("a.txt", "nowhere.txt")
        Path("b.txt").write_text("b.wav zero\n")
        with raises_code("list-malformed"):
            merge("a.txt", "b.txt")


class TestFolders:
    def put_folder(self, name: str) -> None:
        write_list(f"{name}/train_list.txt", **{f"{name}/t1": 0, f"{name}/t2": 1})
        write_list(f"{name}/enroll_list.txt", **{f"{name}/e1": 0, f"{name}/e2": 1})
        write_list(f"{name}/trials_list.txt", **{f"{name}/u1": 1, f"{name}/u2": 0})

    def test_all_three_lists_are_joined_and_test_speakers_keep_one_number(self):
        self.put_folder("a")
        self.put_folder("b")
        merge("a", "b")
        assert list(by_path("all/train_list.txt").values()) == [0, 1, 2, 3]
        assert by_path("all/enroll_list.txt") == {
            "a/e1.wav": 0,
            "a/e2.wav": 1,
            "b/e1.wav": 2,
            "b/e2.wav": 3,
        }
        assert by_path("all/trials_list.txt") == {
            "a/u1.wav": 1,
            "a/u2.wav": 0,
            "b/u1.wav": 3,
            "b/u2.wav": 2,
        }

    def test_a_folder_without_a_test_adds_training_speakers_alone(self):
        self.put_folder("a")
        write_list("b/train_list.txt", x=0)
        merge("a", "b")
        assert len(by_path("all/train_list.txt")) == 3
        assert len(by_path("all/enroll_list.txt")) == 2

    def test_a_clip_that_one_corpus_trains_on_and_another_tests_with_is_refused(self):
        self.put_folder("a")
        write_list("b/train_list.txt", **{"a/u1": 0})
        with raises_code("clip-listed-twice"):
            merge("a", "b")

    def test_half_a_test_is_refused(self):
        self.put_folder("a")
        self.put_folder("b")
        Path("b/enroll_list.txt").unlink()
        with pytest.raises(
            DataError, match=r"half a test, trials_list.txt without enroll_list.txt"
        ):
            merge("a", "b")

    def test_an_empty_folder_is_named(self):
        self.put_folder("a")
        Path("b").mkdir()
        with pytest.raises(DataError, match=r"folder 'b' holds none of train_list.txt"):
            merge("a", "b")

    def test_pairs_stay_where_they_are_and_the_log_says_so(self, caplog):
        self.put_folder("a")
        self.put_folder("b")
        Path("a/trials_pairs_o.txt").write_text("1 x y\n")
        merge("a", "b")
        assert "Pairs are not joined" in caplog.text
        assert not Path("all/trials_pairs_o.txt").exists()


class TestCommand:
    def test_lists_and_folders_do_not_mix_and_two_are_needed(self):
        write_list("a/train_list.txt", a=0)
        write_list("b.txt", b=0)
        with pytest.raises(DataError, match=r"give all of one kind"):
            merge("a", "b.txt")
        with pytest.raises(DataError, match=r"two lists or more"):
            merge("a")

    def test_merging_takes_no_corpus_and_a_corpus_needs_its_path(self, capsys):
        with pytest.raises(OptionError, match=r"--merge and --dataset are two actions"):
            create("--merge", "a", "b", "--dataset=folder", "--path=c")
        assert run_script("create_data", ["--dataset", "folder"]) == 2
        assert "Give --merge, or --dataset and --path." in capsys.readouterr().err

    def test_the_summary_names_what_was_written(self, capsys):
        write_list("a.txt", a=0)
        write_list("b.txt", b=0)
        merge("a.txt", "b.txt")
        assert capsys.readouterr().out.splitlines()[-1] == "Written: all/train_list.txt"
