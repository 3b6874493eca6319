"""Files and folders that appear whole or not at all, whatever kills the process meanwhile."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.errors import MVectorError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

#: A SHA-256 in hexadecimal, as :func:`file_sha256` gives it.
SHA256 = re.compile(r"[0-9a-f]{64}")

#: Error numbers of disks whose files cannot be locked, as some network disks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)

# What torch says of a file that it cannot write to the end; its sentences name places of its code.
_TORCH_CANNOT_WRITE = ("inline_container", "PytorchStreamWriter", "unexpected pos")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # of no text


@contextmanager
def write_errors_as(
    kind: type[MVectorError],
    what: str,
    cure: str = "",
    *,
    also: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Within the block, a failure to write becomes ``Cannot write <what>: <reason>; <cure>.``

    Args:
        kind: of the error to raise.
        what: what could not be written, such as ``the list 'a.txt'``.
        cure: what to do about it, such as ``choose another --out``.
        also: exceptions besides ``OSError`` by which a library says that it cannot write.
    """
    failures: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except failures as error:
        reason = f"{_reason(error)}; {cure}" if cure else _reason(error)
        raise kind(f"Cannot write {what}: {reason}.") from error


@contextmanager
def read_errors_as(
    kind: type[MVectorError], what: str, cure: str = "check the path", *, code: str | None = None
) -> Iterator[None]:
    """Within the block, a file that is missing, no text or unreadable becomes an error of ``kind``.

    Args:
        kind: of the error to raise.
        what: begins the sentence, such as ``The list 'a.txt'``.
        cure, code: what to do, and code of the error, where the file does not exist.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise kind(f"{what} does not exist; {cure}.", code=code) from error
    except IsADirectoryError as error:
        raise kind(f"{what} is a folder; give a file.") from error
    except UnicodeDecodeError as error:
        raise kind(f"{what} {not_utf8(error.object)}.") from error
    except OSError as error:
        raise kind(f"{what} cannot be read: {_reason(error)}.") from error


def read_utf8(path: str | os.PathLike[str]) -> str:
    """A text file, without its byte order mark and with line feeds for line ends.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8; also where zeros show that it is UTF-16 all the same.
    """
    data = Path(path).read_bytes()
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", data, data.index(0), data.index(0) + 1, "a zero")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def not_utf8(data: bytes) -> str:
    """What to say of bytes that are not UTF-8, as the end of a sentence: what they look like."""
    start = data[:4096]
    zeros = [start[0::2].count(0), start[1::2].count(0)]
    is_utf16 = start.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        min(zeros) == 0 and max(zeros) > len(start) // 4
    )
    if is_utf16:
        return "looks like UTF-16 text; save it as UTF-8"
    for encoding, name in (("gb18030", "GBK"), ("cp1252", "Windows-1252 (Latin-1)")):
        with suppress(UnicodeDecodeError):
            # what is read piece by piece may end within a character
            if not _CONTROL.search(codecs.getincrementaldecoder(encoding)().decode(data)):
                return f"looks like {name} text; save it as UTF-8"
    return "is not UTF-8 text; save it as UTF-8"


def with_local_separators(paths: list[str]) -> list[str]:
    """Paths with slashes that were written on Windows (``a\\b.wav``), if the files lie so here."""
    if os.sep == "\\":
        return paths
    some = list(islice((path for path in paths if "\\" in path), 10))
    if any(map(os.path.lexists, some)) or not any(os.path.exists(_slashed(path)) for path in some):
        return paths
    return [_slashed(path) for path in paths]


def _slashed(path: str) -> str:
    return path.replace("\\", "/")


def _reason(error: BaseException) -> str:
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _TORCH_CANNOT_WRITE):
        cause = error.__context__
        return _reason(cause) if isinstance(cause, OSError) else "the disk is full, or it fails"
    return str(getattr(error, "strerror", None) or error).removesuffix(".")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in its place.

    A link stays, and the file that it leads to is written.

    Raises:
        OSError: as ``write`` and the file system raise it; nothing is left behind. A device or a
            pipe lies there, in whose place no file is put.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "It is a device or a pipe, and no file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # not by process: threads share its number, and so do containers that share a disk
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str | Iterable[str], *, errors: str = "strict") -> None:
    """Write a UTF-8 text file in one step, from one string or pieces of it.

    ``errors`` says what becomes of paths that are not UTF-8, as for :func:`open`.
    """

    def write(file: Path) -> None:
        with open(file, "w", encoding="utf-8", newline="\n", errors=errors) as stream:
            stream.writelines((text,) if isinstance(text, str) else text)

    write_atomically(path, write)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes in one step."""

    def write(file: Path) -> None:
        file.write_bytes(content)

    write_atomically(path, write)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write arrays of numbers or text into an npz file in one step."""
    import numpy as np

    save: Callable[..., None] = np.savez_compressed if compressed else np.savez

    def write(file: Path) -> None:
        with open(file, "wb") as stream:  # given a path, numpy would add a suffix to it
            save(stream, **arrays)

    write_atomically(path, write)


def save_figure(figure: Figure, path: str | os.PathLike[str], kind: type[MVectorError]) -> None:
    """Write a figure of matplotlib in one step; the suffix chooses the format, png without one.

    Raises:
        MVectorError: of ``kind``: the suffix is no picture format, or the file cannot be written.
    """
    check_figure_path(figure, path, kind)
    with write_errors_as(kind, f"'{path}'", "choose another place"):
        picture_format = _picture_format(path)
        write_atomically(
            Path(path), lambda file: figure.savefig(file, format=picture_format, dpi=150)
        )


def check_figure_path(
    figure: Figure, path: str | os.PathLike[str], kind: type[MVectorError]
) -> None:
    """Raise an error of ``kind`` for a suffix that :func:`save_figure` could not write."""
    picture_format = _picture_format(path)
    if picture_format not in figure.canvas.get_supported_filetypes():
        raise kind(f"Cannot draw '{path}': '.{picture_format}' is no picture format; use .png.")


def _picture_format(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix[1:].lower() or "png"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
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
    new = _beside(path, "new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        for file in new.iterdir():
            _sync(file)
        put_in_place(new, path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def put_in_place(new: Path, path: Path) -> None:
    """Give a folder the name ``path``; if cut off, :func:`recover_folder` finds the earlier one."""
    old = _beside(path, "old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    os.rename(new, path)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Undo a replacement that was cut off between its two renames."""
    if not os.path.exists(path) and os.path.isdir(old := _beside(path, "old")):
        os.rename(old, path)


def _beside(path: Path, ending: str) -> Path:
    return Path(f"{with_name(path)}.{ending}")


def with_name(path: Path) -> Path:
    """The path as it is, or from the root on where its end is no name, as of ``.`` and ``..``."""
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def _sync(path: Path) -> None:
    if path.is_file():
        with open(path, "rb+") as stream:
            os.fsync(stream.fileno())


def check_file_writable(path: Path) -> None:
    """As :func:`check_writable`, for a file to be written later; it may not be a folder.

    Folders that are made to try it are removed again, as there may come to be no file.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        check_writable(path.parent)
    finally:
        for folder in missing:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")


def check_writable(folder: Path) -> None:
    """Make a folder and try to write into it, to fail before long work and not after it.

    Raises:
        OSError: it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{secrets.token_hex(4)}.probe"
    probe.touch()
    probe.unlink()
