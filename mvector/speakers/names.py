"""Names are data: what a name may be, and which folder holds the clips of whom."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mvector.errors import LibraryError

NAME_FILE = "name.txt"  # in the folder of a person whose name no folder can have
_MAX_NAME = 200
_MAX_METADATA = 65_536
_MAX_FOLDER_BYTES = 240  # file systems take 255
# control characters, halves of surrogate pairs, separators of lines and paragraphs
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}


def normalised(name: str) -> str:
    """A name in the one spelling under which it is stored: NFC, without blanks around it."""
    return unicodedata.normalize("NFC", name).strip()


def checked_name(name: str, what: str = "name") -> str:
    """A name as it is stored.

    Args:
        name: any text.
        what: how the message calls it.

    Raises:
        LibraryError: it is no text, empty, too long or holds control characters.
    """
    if not isinstance(name, str):
        raise LibraryError(
            f"A {what} is text; this one is {type(name).__name__}.", code="name-invalid"
        )
    name = normalised(name)
    if not name or len(name) > _MAX_NAME:
        raise LibraryError(
            f"A {what} needs 1 to {_MAX_NAME} characters; this one has {len(name)}.",
            code="name-invalid",
        )
    if any(unicodedata.category(character) in _REFUSED for character in name):
        raise LibraryError(
            f"The {what} {name!r} holds control characters; leave them out.", code="name-invalid"
        )
    return name


def checked_groups(groups: Sequence[str]) -> list[str]:
    """Names of groups as they are stored, each once.

    Raises:
        LibraryError: one of them is no name, or a single text was given.
    """
    if isinstance(groups, str):
        raise LibraryError(f"Groups are a list of names: write ['{groups}'].")
    return sorted({checked_name(group, "group name") for group in groups})


def encoded_metadata(metadata: Mapping[str, Any]) -> str:
    """Metadata of a person as JSON.

    Raises:
        LibraryError: it is no mapping, cannot be turned into JSON, or is too long.
    """
    if not isinstance(metadata, Mapping):
        raise LibraryError(
            f"Metadata is a mapping; this is {type(metadata).__name__}.", code="metadata-invalid"
        )
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, sort_keys=True)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise LibraryError(
            f"The metadata cannot be turned into JSON: {error}.", code="metadata-invalid"
        ) from error
    if len(text) > _MAX_METADATA:
        raise LibraryError(
            f"The metadata has {len(text)} characters; at most {_MAX_METADATA} are kept.",
            code="metadata-invalid",
        )
    return text


def folder_of(name: str) -> str:
    """A folder name for any name: what could be a path, or no file system takes, is escaped."""
    escaped = re.sub(r'[<>:"/\\|?*%]|^\.|[. ]$', lambda match: f"%{ord(match[0]):02X}", name)
    if len(escaped.encode()) > _MAX_FOLDER_BYTES:  # the name itself is in NAME_FILE
        escaped = f"%{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return escaped


def name_of(folder: Path) -> str:
    """Whose clips a folder holds; what it says may be no name that is allowed."""
    try:
        return normalised((folder / NAME_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return normalised(unquote(folder.name))
