"""What the scans share: walking folders, reading lists of names, and saying what is missing."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mvector.audio import PassedOver
from mvector.corpus.recipes.clip import MIN_SPEAKERS, Clip, Part, name_some
from mvector.errors import DataError, count_of
from mvector.files import read_errors_as

logger = logging.getLogger(__name__)

# Large corpora are published in pieces: vox1_dev_wav_partaa, train.tar.gz-part-a, x.zip.001.
_ARCHIVE = re.compile(r"\.(tar|gz|tgz|bz2|xz|zip|7z|rar)$|[._-]part-?[a-z]{1,2}$|\.z?\d{2,3}$")


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a corpus's folder.

    Raises:
        DataError: it does not exist or is a file.
    """
    root = Path(os.path.abspath(Path(path).expanduser()))
    if root.is_dir():
        return root
    if root.is_file():
        raise DataError(f"'{path}' is a file; unpack it if it is an archive, and give the folder.")
    raise DataError(f"The corpus folder '{path}' does not exist; check the path.")


def walk_audio(root: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Audio beneath a folder, ordered: its path for the lists and the folders from root to it.

    Links to folders are followed, each folder being visited once, so that no circle is endless. At
    the end, the log tells of files that are no clips, and of folders of ``root`` with such alone.

    Raises:
        DataError: a folder cannot be read.
    """
    here = os.getcwd().rstrip(os.sep) + os.sep
    visited: set[tuple[int, int]] = set()
    passed_over = PassedOver()
    with_clips: set[str] = set()
    for parent, folders, files in os.walk(root, followlinks=True, onerror=_refuse_unreadable):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if _is_visible(name))
        between = os.path.relpath(parent, root)
        parents = () if between == os.curdir else tuple(between.split(os.sep))
        clips = [name for name in files if passed_over.takes(os.path.join(parent, name))]
        if clips:
            with_clips.update(parents[:1])
        for name in _recordings(clips):
            path = os.path.join(parent, name).removeprefix(here)
            yield path.replace(os.sep, "/"), parents
    passed_over.report(root, with_clips)


def listed_path(path: str | os.PathLike[str], working_folder: str | None = None) -> str:
    """A path as the lists give it: relative where it lies beneath the working directory.

    For many paths, give what ``os.getcwd()`` says, so that it is asked once.
    """
    here = (working_folder or os.getcwd()).rstrip(os.sep) + os.sep
    return os.path.normpath(os.path.join(here, path)).removeprefix(here).replace(os.sep, "/")


def walk_speaker_folders(root: Path, expected: str) -> list[tuple[str, tuple[str, ...]]]:
    """What :func:`walk_audio` finds in folders of ``root``; clips beside them are counted.

    Raises:
        DataError: there are none; the message tells the layout expected.
    """
    found = list(walk_audio(root))
    inside = [entry for entry in found if entry[1]]
    if len(inside) < len(found):
        logger.warning(
            "Left out: %s directly in '%s', where no folder names a speaker.",
            count_of(len(found) - len(inside), "clip"),
            root,
        )
    if not inside:
        raise not_found_error("No audio was found in speakers' folders of", root, expected)
    return inside


def speaker_clips(root: Path, expected: str, part: Part = "train") -> list[Clip]:
    """Clips of ``<root>/<speaker>/**``.

    Raises:
        DataError: there are none; the message tells the layout expected.
    """
    return [Clip(path, parents[0], part) for path, parents in walk_speaker_folders(root, expected)]


def require_several_speakers(clips: list[Clip], root: Path, expected: str) -> None:
    """Refuse a corpus all of whose clips are of one speaker.

    Raises:
        DataError: so they are; the message tells the layout expected.
    """
    speakers = {clip.speaker for clip in clips}
    if len(speakers) < MIN_SPEAKERS:
        raise DataError(
            f"The clips of '{root}' are all of one speaker, {name_some(speakers)}; "
            f"expected {expected} with at least two speakers: is it one folder too high or low?"
        )


def require_folder(folder: Path, corpus: str) -> Path:
    """The folder again.

    Raises:
        DataError: a corpus lacks it; archives that lie nearby are named.
    """
    if folder.is_dir():
        return folder
    cure = unpacking_hint(folder.parent) or "unpack the whole archive"
    raise DataError(
        f"{corpus} is not complete: the folder '{folder}' is missing; {cure}.",
        code="corpus-incomplete",
    )


def not_found_error(what: str, root: Path, expected: str) -> DataError:
    """The error of a corpus that is not there: what was looked for, the layout and the cure."""
    cure = unpacking_hint(root) or "check the path"
    return DataError(f"{what} '{root}'; expected {expected}: {cure}.", code="corpus-incomplete")


def inner_folder(root: Path, *names: str) -> Path:
    """A folder in ``root`` that has one of these normalised names, or else ``root``."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    return next((folder for folder in folders if normalised_name(folder.name) in names), root)


def unpacking_hint(folder: Path) -> str:
    """``unpack 'a.zip' first`` where archives lie in a folder, else nothing."""
    if not folder.is_dir():
        return ""
    names = [entry.name for entry in folder.iterdir() if _ARCHIVE.search(entry.name.lower())]
    pieces = any(re.search(r"part-?[a-z]{1,2}$", name.lower()) for name in names)
    joined = "join the pieces with cat and " if pieces else ""
    return f"{joined}unpack {name_some(names)} first" if names else ""


def normalised_name(name: str) -> str:
    """A folder's name without case, hyphens and underscores, to compare spellings."""
    return name.lower().replace("-", "").replace("_", "")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file that are not blank, without their ends, with numbers from 1.

    Raises:
        DataError: it is missing, unreadable or not UTF-8.
    """
    with read_errors_as(DataError, f"'{path}'"), path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            text = line.strip(" \t\r\n")
            if text:
                yield number, text


def _recordings(files: Iterable[str]) -> list[str]:
    """The files in order, without mp3 files that a wav of the same name lies beside."""
    split = {name: os.path.splitext(name) for name in sorted(files)}
    wavs = {stem for stem, suffix in split.values() if suffix.lower() == ".wav"}
    return [
        name
        for name, (stem, suffix) in split.items()
        if not (suffix.lower() == ".mp3" and stem in wavs)
    ]


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(f"Cannot read the folder '{error.filename}': {error.strerror}.") from error
