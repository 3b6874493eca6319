"""What a file is that ought to hold weights: told by its first bytes, and not by its name."""

from __future__ import annotations

import codecs
import shlex
import zipfile
from pathlib import Path
from typing import Literal

from mvector.errors import CheckpointError

Reader = Literal["torch", "safetensors"]

_HEAD_BYTES = 512
_TAR_MARK = slice(257, 262)
_ARCHIVE = ("an archive", "unpack it and give the checkpoint in it")
_PAGE = ("a page of a web site, which may ask to log in", "download the file itself")
# Beginnings of files that people take for checkpoints: what each is, and what to do.
_KINDS: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (
        b"version https://git-lfs",
        ("a pointer of Git LFS and not the file it stands for", "fetch that with 'git lfs pull'"),
    ),
    (b"<!doctype", _PAGE),
    (b"<html", _PAGE),
    (b"<?xml", _PAGE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"bzh", _ARCHIVE),
    (b"\xfd7zxz", _ARCHIVE),
    (b"7z\xbc\xaf", _ARCHIVE),
    (b"rar!", _ARCHIVE),
    (b"\x89hdf", ("an HDF5 file, as Keras writes it", "choose a checkpoint of PyTorch")),
    (b"\x93numpy", ("an array of NumPy", "choose a checkpoint of PyTorch")),
)
_ONNX = ("an ONNX model", "choose the PyTorch checkpoint that it was exported from")
_SCRIPT = ("a TorchScript program", "save the model's state_dict() and give that")
_CUT = ("damaged or cut short", "copy or download it again")


def require_weights(file: Path) -> Reader:
    """Which library reads a file of weights.

    Raises:
        CheckpointError: none does; the sentence says what the file is, and what to do.
    """
    try:
        with open(file, "rb") as stream:
            head = stream.read(_HEAD_BYTES)
        size = file.stat().st_size
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"'{file}' cannot be read: {reason}; copy it again.") from error
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "safetensors"
    found = _kind(file, head)
    if found is None:
        return "torch"
    what, cure = found
    raise CheckpointError(f"'{file}' is {what}; {cure}.", code="checkpoint-damaged")


def _kind(file: Path, head: bytes) -> tuple[str, str] | None:
    """What a file is, and what to do; ``None`` for what PyTorch may have written."""
    if not head:
        return "empty", "copy or download it again"
    if head.startswith(b"PK"):
        return _kind_of_zip(file)
    if head.startswith(b"\x80"):  # a pickle: PyTorch before 1.6, or another program
        return None
    beginning = head.lstrip().lower()
    for mark, kind in _KINDS:
        if beginning.startswith(mark):
            return kind
    if head[_TAR_MARK] == b"ustar":
        return _ARCHIVE
    if (
        head[0] == 0x08
        and head[1:2] < b"\x20"
        and head[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42")
    ):
        return _ONNX  # protocol buffers: the version of the format, then producer, graph or opset
    if _is_text(head):
        first = head.decode("utf-8", "ignore").strip().partition("\n")[0][:40]
        return f"a text ('{first}')", "give the file of the weights"
    return "no checkpoint that PyTorch or safetensors wrote, or damaged", "copy it again"


def _kind_of_zip(file: Path) -> tuple[str, str] | None:
    try:
        names = [Path(name).name for name in zipfile.ZipFile(file).namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return _CUT
    if "data.pkl" not in names:
        return _ARCHIVE
    return _SCRIPT if "constants.pkl" in names else None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # may end within a character
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\r\t" for character in text)


def how_to_import(file: Path) -> str:
    """The command that makes a model folder of another toolkit's checkpoint, as advice."""
    out = f"models/{file.stem}"
    return (
        f"import it first: python tools/import_checkpoint.py --path {shlex.quote(str(file))} "
        f"--out {shlex.quote(out)}"
    )
