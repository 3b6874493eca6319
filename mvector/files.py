"""Files and folders that appear whole or not at all, whatever kills the process meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in its place.

    Raises:
        OSError: as ``write`` and the file system raise it; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step.

    Raises:
        OSError: as the file system raises it; nothing is left behind.
    """

    def write(file: Path) -> None:
        with open(file, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)

    write_atomically(path, write)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``path`` when the block ends without error.

    A process killed between the two renames leaves the previous folder under ``<name>.old``, where
    :func:`recover_folder` finds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(path)
    new, old = (path.with_name(f"{path.name}.{end}") for end in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        for file in new.iterdir():
            _sync(file)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.rename(path, old)
        os.rename(new, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Undo a replacement that was cut off between its two renames."""
    old = path.with_name(f"{path.name}.old")
    if not path.exists() and old.is_dir():
        os.rename(old, path)


def _sync(path: Path) -> None:
    if path.is_file():
        with open(path, "rb+") as stream:
            os.fsync(stream.fileno())


def check_writable(folder: Path) -> None:
    """Make a folder and try to write into it, to fail before long work and not after it.

    Raises:
        OSError: it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{os.getpid()}.probe"
    probe.touch()
    probe.unlink()
