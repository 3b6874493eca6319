"""Zip and tar archives of a stranger: nothing gets outside of a folder, and no bomb goes off."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from mvector.errors import CheckpointError

_MOST_MEMBERS = 10_000
_MOST_BYTES = 4 << 30
# Weights hardly shrink, and texts by ten; a bomb grows by a thousand.
_MOST_GROWTH = 100
_BLOCK = 1 << 20
#: What a model is made of; pictures, recordings and the like stay in the archive.
_WANTED = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".yaml", ".yml")


@dataclass(frozen=True)
class _Member:
    """A file of an archive: its name there, the size that is told, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(file: Path) -> bool:
    """Whether a file is a zip or tar archive; checkpoints of PyTorch are zip files and no archives.

    So are those of NeMo, which are read as they are.
    """
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                return all(Path(name).name != "data.pkl" for name in archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return False
    return file.suffix != ".nemo" and is_tar(file)


def is_tar(file: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, as far as it can be read."""
    try:
        return tarfile.is_tarfile(file)
    except (OSError, EOFError, zlib.error):  # a compressed file may end in its header
        return False  # what cannot be read is told where it is read


def unpack(file: Path, into: Path, *, most_bytes: int = _MOST_BYTES) -> None:
    """Write an archive's checkpoints and YAML files into one new folder, without their folders.

    Raises:
        CheckpointError: the archive is damaged, or not one of a model: it has links, devices or
            paths to outside, two files of one name, or unpacks to more than a model would.
        OSError: they cannot be written.
    """
    with _opened(file) as members:
        most = min(most_bytes, _MOST_GROWTH * file.stat().st_size + _BLOCK)
        chosen: dict[str, _Member] = {}
        told = 0
        for number, member in enumerate(members):
            if number >= _MOST_MEMBERS:
                raise _unsafe(file, f"it has more than {_MOST_MEMBERS:,} files")
            told += member.size  # before the next one is looked for behind its content
            if told > most:
                raise _unsafe(file, f"it unpacks to more than {most:,} bytes")
            name = _safe_name(file, member.name)
            if not name.lower().endswith(_WANTED) or name.startswith("."):
                continue
            if name in chosen:
                raise _unsafe(file, f"it has two files '{name}'")
            chosen[name] = member
        into.mkdir(parents=True)
        for name, member in chosen.items():
            most -= _write(file, member, into / name, most)


def _write(file: Path, member: _Member, target: Path, most: int) -> int:
    """Write a member of at most so many bytes, whatever the archive says of its size."""
    source, size = member.open(), 0
    if source is None:
        raise _unsafe(file, f"'{member.name}' is no file")
    with source, open(target, "wb") as stream:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > most:
                raise _unsafe(file, "it unpacks to more than it says")
            stream.write(block)
    return size


def _safe_name(file: Path, name: str) -> str:
    parts = re.split(r"[/\\]", name)
    is_outside = name.startswith(("/", "\\")) or ".." in parts or ":" in name or "\0" in name
    if is_outside or not parts[-1]:
        raise _unsafe(file, f"it has a file '{name[:60]}', which would lie outside of the folder")
    return parts[-1]


@contextmanager
def _opened(file: Path) -> Iterator[Iterator[_Member]]:
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield _zip_members(file, archive)
        else:
            with tarfile.open(file, "r:*") as tar:
                yield _tar_members(file, tar)
    except (
        *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError),
        *(NotImplementedError, RuntimeError, ValueError),
    ) as error:
        raise CheckpointError(
            f"'{file}' cannot be unpacked: {error}; download it again.", code="checkpoint-damaged"
        ) from error


def _zip_members(file: Path, archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = info.external_attr >> 28  # of Unix: 0o10 is a file, 0o12 a link
        if kind not in (0, 0o4, 0o10):
            raise _unsafe(file, f"'{info.filename}' is a link or a device")
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, partial(archive.open, info))


def _tar_members(file: Path, archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        if not (info.isfile() or info.isdir()):
            raise _unsafe(file, f"'{info.name}' is a link or a device")
        if info.isfile():
            yield _Member(info.name, info.size, partial(archive.extractfile, info))


def _unsafe(file: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{file}' is no archive of a model: {reason}; nothing of it was unpacked.",
        code="checkpoint-unsafe",
    )
