"""Whether a library can be read and written to, and what is said where it cannot."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from pathlib import Path

from mvector.errors import LibraryError
from mvector.files import check_writable
from mvector.speakers.obstacles import kind_of, shown
from mvector.speakers.postgres_address import is_address_as_path

logger = logging.getLogger(__name__)

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DamagedDatabaseError(LibraryError):
    """The file is no database, or not a whole one."""

    code = "library-damaged"


def library_folder(path: str | os.PathLike[str]) -> Path:
    """The folder that a path of a library names.

    Raises:
        LibraryError: it can be none.
    """
    try:
        text = os.fspath(path)
    except TypeError as error:
        mistake = f"The path of a speaker library is text; this one is {type(path).__name__}."
        raise LibraryError(mistake) from error
    if not text.strip():
        raise LibraryError("The path of the speaker library is empty; name a folder: audio_db.")
    if is_address_as_path(text):
        raise LibraryError("Give the address of a library in PostgreSQL as text, not as a Path.")
    if "\0" in text:
        raise LibraryError(f"The path of the speaker library {text!r} holds a NUL; leave it out.")
    if os.path.lexists(text) and not os.path.isdir(text):
        raise LibraryError(f"'{shown(text)}' is no folder, as a speaker library is; name another.")
    return Path(text)


def error_not_there(name: str, what: str) -> LibraryError:
    """The error to raise where there is no library; ``what`` its name is: a path or an address."""
    return LibraryError(
        f"There is no speaker library in '{name}': check the {what} "
        "(--audio_db_path), or register somebody first.",
        code="library-not-found",
    )


def error_read_only(name: str) -> LibraryError:
    """The error to raise for a change of a library that is read-only."""
    return LibraryError(
        f"The speaker library '{name}' is read-only: it can list and identify, but nothing can be "
        "changed.",
        code="library-read-only",
    )


def error_other_format(name: str, version: int, ours: int) -> LibraryError:
    """The error to raise for tables of a later format, or of one that may not be migrated."""
    cure = "update mvector" if version > ours else "open it once for writing"
    return LibraryError(f"'{name}' is of another format ({version}); {cure}.")


def error_from_sqlite(error: sqlite3.Error, path: Path, waited_s: float) -> LibraryError:
    """The error to raise for one of SQLite; ``waited_s`` for others who write."""
    # what SQLite calls operational (locked, read-only, full) is derived from what is damage
    text, name = str(error), shown(path)
    is_plain = type(error) is sqlite3.DatabaseError
    if is_plain or text.startswith(("unsupported file format", "no such", "malformed")):
        return DamagedDatabaseError(f"The speaker database '{name}' is damaged: {error}.")
    if is_disk_full(error):
        reason = "the disk is full, or fails; free some space: nothing was changed"
    elif "locked" in text:
        reason = f"another process has been writing for {waited_s:g} s; try again"
    elif "readonly" in text or "unable to open" in text:
        reason = "it is read-only, or its folder is"
    else:
        return LibraryError(f"The speaker database '{name}' cannot be used: {text}.")
    sentence = f"The speaker database '{name}' cannot be used: {reason}."
    return LibraryError(sentence, code="library-unwritable")


def error_from_os(error: OSError, folder: Path) -> LibraryError:
    """The error to raise for one of the file system."""
    place = f"the speaker library '{shown(folder)}'"
    if is_disk_full(error):
        sentence = f"Cannot write to {place}: the disk is full; free some space."
    elif error.errno in _READ_ONLY:
        sentence = f"Cannot write to {place}: it is read-only ({error.filename})."
    else:
        return LibraryError(f"Cannot use {place}: {error}.")
    return LibraryError(sentence, code="library-unwritable")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error says that there is no room on the disk, or that it fails."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(text in str(error) for text in ("is full", "disk I/O"))


def is_writable(path: Path) -> bool:
    """Whether the database of a library, or a new one, can be written to; its folder is made.

    Raises:
        LibraryError: it cannot be made.
    """
    folder = path.parent
    try:
        check_writable(folder)
    except OSError as error:
        if (error.errno in _READ_ONLY or is_disk_full(error)) and path.is_file():
            if is_disk_full(error):
                logger.warning("The disk of '%s' is full; it is opened read-only.", shown(folder))
            return False
        raise LibraryError(
            f"Cannot make the speaker library '{shown(folder)}': {error.strerror or error}."
        ) from error
    return not path.exists() or may(os.W_OK, path)


def check_readable(path: Path) -> None:
    """Refuse what is no database, and one that this user may not read, or its folder.

    Raises:
        LibraryError: as said.
    """
    folder = path.parent
    if may(os.X_OK, folder) and os.path.lexists(path) and not path.is_file():
        kind = "broken link" if kind_of(path) == "link" else kind_of(path)
        raise LibraryError(
            f"'{shown(path)}' has to be a library's database, and is a {kind}; move it away."
        )
    for place, rights in ((folder, os.R_OK | os.X_OK), (path, os.R_OK)):
        if os.path.lexists(place) and not may(rights, place):
            raise LibraryError(
                f"The speaker library '{shown(folder)}' is another user's: permission to read "
                f"'{shown(place)}' is denied; ask its owner for it.",
                code="library-permission",
            )


def is_log_blocked(path: Path) -> bool:
    """Whether something lies where a database has its log; then it can be read, and not written.

    It is told of.
    """
    logs = [path.with_name(f"{path.name}-{end}") for end in ("wal", "shm", "journal")]
    blocked = [log for log in logs if kind_of(log) not in ("", "file")]
    for log in blocked:
        told = "'%s' is a %s; the library is opened read-only, until you move that away."
        logger.warning(told, shown(log), kind_of(log))
    return bool(blocked)


def may(rights: int, path: Path) -> bool:
    """Whether this process has rights, such as ``os.W_OK``, to a file or folder."""
    return os.access(path, rights, effective_ids=os.access in os.supports_effective_ids)
