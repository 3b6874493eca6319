"""Names are data: what a name may be, and which folder holds the clips of whom."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mvector.errors import LibraryError

NAME_FILE = "name.txt"  # in the folder of a person whose name no folder can have
_MAX_NAME = 200
_MAX_METADATA = 65_536
_MAX_NAME_FILE = 4096  # bytes; a larger file is none of ours
_MAX_FOLDER_BYTES = 240  # file systems take 255
_OURS = "voiceprints."  # how the files of a library begin that lie beside the folders
# What Windows takes for a device, whatever its case and what follows a dot
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.I | re.S)
# control characters, halves of surrogate pairs, separators of lines and paragraphs
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}


def normalise_name(name: str, what: str = "name") -> str:
    """A name in the one spelling under which it is stored: NFC, without blanks around it.

    Messages call it ``what``.

    Raises:
        LibraryError: it is no text.
    """
    if not isinstance(name, str):
        mistake = f"A {what} is text; this one is {type(name).__name__}."
        raise LibraryError(mistake, code="name-invalid")
    return unicodedata.normalize("NFC", name).strip()


def checked_name(name: str, what: str = "name") -> str:
    """A name, which messages call ``what``, as it is stored.

    Raises:
        LibraryError: it is no text, empty, too long or holds control characters.
    """
    name = normalise_name(name, what)
    if not name or len(name) > _MAX_NAME:
        mistake = f"A {what} needs 1 to {_MAX_NAME} characters; this one has {len(name)}."
        raise LibraryError(mistake, code="name-invalid")
    if any(unicodedata.category(character) in _REFUSED for character in name):
        mistake = f"The {what} {name!r} holds control characters; leave them out."
        raise LibraryError(mistake, code="name-invalid")
    return name


def checked_groups(groups: Sequence[str]) -> list[str]:
    """Names of groups as they are stored, each once.

    Raises:
        LibraryError: one of them is no name, or a single text was given.
    """
    if not isinstance(groups, Iterable):
        raise LibraryError(f"Groups are a list of names; this is {type(groups).__name__}.")
    if isinstance(groups, str):
        raise LibraryError(f"Groups are a list of names: write ['{groups}'].")
    return sorted({checked_name(group, "group name") for group in groups})


def encode_metadata(metadata: Mapping[str, Any]) -> str:
    """Metadata of a person as JSON.

    Raises:
        LibraryError: it is no mapping, cannot be turned into JSON, or is too long.
    """
    if not isinstance(metadata, Mapping):
        mistake = f"Metadata is a mapping; this is {type(metadata).__name__}."
        raise LibraryError(mistake, code="metadata-invalid")
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, sort_keys=True)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        mistake = f"The metadata cannot be turned into JSON: {error}."
        raise LibraryError(mistake, code="metadata-invalid") from error
    if len(text) > _MAX_METADATA:
        mistake = f"The metadata has {len(text)} characters; at most {_MAX_METADATA} are kept."
        raise LibraryError(mistake, code="metadata-invalid")
    return text


def folder_name_for(name: str) -> str:
    """A folder name for any name, on every system.

    What could be a path, a device of Windows or a file of the library is escaped, and so is what
    some file system does not take: a library can be copied to any of them.
    """
    escaped = re.sub(r'[<>:"/\\|?*%]|^\.|[. ]$', lambda match: _escape(match[0]), name)
    if _DEVICE.fullmatch(escaped) or is_of_library(escaped):
        escaped = _escape(escaped[0]) + escaped[1:]
    return _within_limit(escaped, name)


def escaped_folder_name_for(name: str) -> str:
    """The folder name where another person's may not be told from :func:`folder_name_for`."""
    return _within_limit(_escape(name), name)


def _escape(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _within_limit(escaped: str, name: str) -> str:
    if len(escaped.encode()) > _MAX_FOLDER_BYTES:  # the name itself is in NAME_FILE
        return f"%{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return escaped


def folder_key(name: str) -> str:
    """The same for people whose folders some file system takes for one.

    Windows and macOS do not tell upper from lower case, nor macOS composed from decomposed letters.
    """
    return _without_case(folder_name_for(name))


def _without_case(text: str) -> str:
    folded = unicodedata.normalize("NFD", text).upper().casefold()
    return unicodedata.normalize("NFD", folded)


def is_of_library(file_name: str) -> bool:
    """Whether something beside the people's folders has, or may have, the name of our own files."""
    return _without_case(file_name).startswith(_OURS)


def person_of_folder(folder: Path) -> str:
    """Whose clips a folder holds; what it says may be no name that is allowed."""
    file = folder / NAME_FILE
    try:
        state = os.lstat(file)
        if stat.S_ISREG(state.st_mode) and state.st_size <= _MAX_NAME_FILE:
            return normalise_name(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        pass
    return normalise_name(unquote(folder.name))
