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
# characters of the category Cf that are to be seen: signs around numbers, hieroglyphs in groups
_VISIBLE = re.compile(
    "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f]"
)
_NON_JOINER = "\u200c"
_JOINERS = f"{_NON_JOINER}\u200d"
_PICTURES = {"So", "Sm"}  # the categories of emoji
_OF_EMOJI = "[\ufe0f\U0001f3fb-\U0001f3ff]+$"  # behind one: its colours, and that of its skin
_VIRAMA = 9  # combining class of what takes the vowel from an Indic consonant
_SHAPES = range(0xFB50, 0xFEFF)  # of Arabic letters
# Arabic letters that join the one behind them: those with a shape for the beginning of a word
_JOINING = {
    chr(int(parts[1], 16))
    for parts in (unicodedata.decomposition(chr(shape)).split() for shape in _SHAPES)
    if parts[:1] == ["<initial>"] and len(parts) == 2
}


def normalise_name(name: str, what: str = "name") -> str:
    """A name in the one spelling under which it is stored: NFC, without blanks around it.

    What cannot be seen is left out, such as zero-width spaces, soft hyphens and marks of direction:
    names that look alike are one. Messages call it ``what``.

    Raises:
        LibraryError: it is no text.
    """
    if not isinstance(name, str):
        mistake = f"A {what} is text; this one is {type(name).__name__}."
        raise LibraryError(mistake, code="name-invalid")
    visible = name if name.isascii() else _without_invisible(unicodedata.normalize("NFC", name))
    return unicodedata.normalize("NFC", visible).strip()


def _without_invisible(name: str) -> str:
    """A name without characters of the category Cf, but for those that change what is seen."""
    seen = "".join(
        character
        for character in name
        if unicodedata.category(character) != "Cf"
        or character in _JOINERS
        or _VISIBLE.match(character)
    )
    seen = re.sub(f"([{_JOINERS}])[{_JOINERS}]+", r"\1", seen)
    return re.sub(
        f"[{_JOINERS}]",
        lambda found: found[0] if _shapes_letters(seen, found.start()) else "",
        seen,
    )


def _shapes_letters(name: str, place: int) -> bool:
    """Whether a joiner or non-joiner changes the letters beside it.

    That is, beside a virama, as in Indic scripts, and of a non-joiner where two Arabic letters
    would be joined, as within Persian names (after RFC 5892, appendix A); of a joiner also between
    two emoji, which become one (Unicode Technical Standard 51).
    """
    before, behind = name[:place], name[place + 1 :]
    if before and any(unicodedata.combining(c) == _VIRAMA for c in (before[-1], *behind[:1])):
        return True
    last = next((c for c in reversed(before) if not unicodedata.combining(c)), "")
    following = next((c for c in behind if not unicodedata.combining(c)), " ")
    if name[place] != _NON_JOINER:
        pictures = re.sub(_OF_EMOJI, "", before)[-1:] + behind[:1]
        return [unicodedata.category(c) in _PICTURES for c in pictures] == [True, True]
    is_arabic = unicodedata.name(following, "").startswith("ARABIC LETTER")
    return last in _JOINING and is_arabic


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
