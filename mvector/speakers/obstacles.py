"""What lies where a clip or a person's folder has to be: told of once, and passed over.

Links are never followed. What they lead to is not the library's: nothing is enrolled from there,
written there or deleted there.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

_JUNCTION = 0xA0000003  # the reparse tag of what Windows has for links to folders


class Obstacles:
    """Tells of each place once, for the same things are done to the folders again and again."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, place: str | os.PathLike[str], what: str | OSError) -> None:
        """Log a line: ``'<place>' <what>``; an error of the system is put into words."""
        name = shown(place)
        reason = f"cannot be used: {what.strerror or what}" if isinstance(what, OSError) else what
        self.tell_once(name, f"'{name}' {reason}.")

    def tell_once(self, about: str, sentence: str) -> None:
        """Log a sentence, and no other ``about`` the same."""
        if about not in self._told:
            self._told.add(about)
            logger.warning("%s", sentence)


def shown(place: str | os.PathLike[str]) -> str:
    """A path as text of one line; bytes that are no UTF-8, and control characters, are escaped."""
    text = os.fsencode(place).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def kind_of(place: Path) -> str:
    """``file``, ``folder``, ``link``, ``device``, or nothing where there is nothing.

    Raises:
        OSError: it cannot be told, as in a folder that may not be entered.
    """
    try:
        state = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISLNK(state.st_mode) or getattr(state, "st_reparse_tag", 0) == _JUNCTION:
        return "link"
    if stat.S_ISDIR(state.st_mode):
        return "folder"
    return "file" if stat.S_ISREG(state.st_mode) else "device"


def obstacle_at(library: Path, file: str) -> tuple[Path, str | OSError] | None:
    """What keeps a clip from being where its row says: its place, and what is wrong there.

    ``file`` is relative to the library; that nothing lies there is no obstacle.
    """
    path = library / file
    for place, wanted in ((path.parent, "folder"), (path, "file")):
        try:
            kind = kind_of(place)
        except OSError as error:  # the folder's fault, for it may not be entered
            return path.parent, error
        if kind == "link":
            return place, "is a link, and links are not followed; put a copy in its place"
        if kind not in ("", wanted):
            return place, f"has to be a {wanted}, and is a {kind}; move it away"
    return None


def is_clip_there(library: Path, file: str) -> bool:
    """Whether a clip lies in its place."""
    return _kind_in_place(library, file) == "file"


def is_clip_gone(library: Path, file: str) -> bool:
    """Whether nothing at all lies in a clip's place; not so where that cannot be looked at."""
    return _kind_in_place(library, file) == ""


def _kind_in_place(library: Path, file: str) -> str | None:
    """What :func:`kind_of` says of a clip's place; ``None`` where something is in the way."""
    try:
        return kind_of(library / file) if obstacle_at(library, file) is None else None
    except OSError:
        return None
