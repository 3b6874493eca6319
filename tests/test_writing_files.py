"""Files that appear whole or not at all, and the sentences where they cannot."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from mvector.errors import DataError, EvaluationError
from mvector.files import (
    check_writable,
    read_errors_as,
    replacing_folder,
    write_atomically,
    write_errors_as,
    write_text,
)


def test_a_file_that_cannot_be_finished_leaves_the_earlier_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    file = tmp_path / "list.txt"
    write_text(file, ["first\n", "second\n"])

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(file, fail)

    assert file.read_text() == "first\nsecond\n"
    assert [*tmp_path.iterdir()] == [file]


def test_threads_that_write_one_file_at_once_do_not_take_each_others_temporary_file(
    tmp_path: Path,
) -> None:
    num_threads = 8
    together = Barrier(num_threads)

    def write(number: int) -> None:
        def fill(temporary: Path) -> None:
            temporary.write_text(f"{number}\n" * 1000)
            together.wait(timeout=60)  # all temporary files exist at the same time

        write_atomically(tmp_path / "shared.txt", fill)
        check_writable(tmp_path)

    with ThreadPoolExecutor(num_threads) as pool:
        assert list(pool.map(write, range(num_threads))) == [None] * num_threads
    lines = (tmp_path / "shared.txt").read_text().split()
    assert len(lines) == 1000
    assert len(set(lines)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shared.txt"]


def test_a_failure_to_write_names_the_file_the_reason_and_the_cure() -> None:
    with (
        pytest.raises(EvaluationError) as caught,
        write_errors_as(EvaluationError, "'a.npz'", "choose another --out"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", ".a.npz.0123.tmp")

    assert str(caught.value) == "Cannot write 'a.npz': Permission denied; choose another --out."


def test_the_errors_of_a_library_that_writes_are_told_alike_and_others_pass() -> None:
    with (
        pytest.raises(DataError, match=r"^Cannot write the model: no room\.$"),
        write_errors_as(DataError, "the model", also=(RuntimeError,)),
    ):
        raise RuntimeError("no room.")
    with pytest.raises(ValueError, match="a mistake of ours"), write_errors_as(DataError, "it"):
        raise ValueError("a mistake of ours")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "The list 'x' does not exist; make it."),
        (lambda path: path.mkdir(), "The list 'x' is a folder; give a file."),
        (
            lambda path: path.write_bytes(b"\xff\xfe"),
            "The list 'x' looks like UTF-16 text; save it",
        ),
    ],
    ids=["missing", "folder", "binary"],
)
def test_a_file_that_cannot_be_read_is_told_in_a_sentence(
    make: object, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    make(path)  # type: ignore[operator]

    with pytest.raises(DataError) as caught, read_errors_as(DataError, "The list 'x'", "make it"):
        path.read_text(encoding="utf-8")

    assert str(caught.value).startswith(words)


def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for content in ("old", "new"):
        with replacing_folder(folder) as new:
            (new / "weights").write_text(content)
    with pytest.raises(FileNotFoundError), replacing_folder(folder) as new:
        (new / "weights").rename(new / "missing" / "weights")

    assert (folder / "weights").read_text() == "new"
    assert [*tmp_path.iterdir()] == [folder]


def test_a_link_is_written_through_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "text")
    write_text(tmp_path / "link", "words")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "text").read_text() == "words"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe"):
        write_text(tmp_path / "pipe", "words")
    assert (tmp_path / "pipe").is_fifo()
