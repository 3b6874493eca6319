"""Corpora on disk: which clips there are, who speaks in each, and what each is for.

A scan only reads folders. It gives a flat list of :class:`Clip`; CN-Celeb comes with its own test
speakers, the other layouts are split by :mod:`mvector.data.splitting` once the clips are checked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mvector.audio import AUDIO_SUFFIXES
from mvector.errors import DataError

logger = logging.getLogger(__name__)

Part: TypeAlias = Literal["train", "enroll", "trials"]

# One class cannot be trained on, and one test speaker gives no trial of different speakers.
MIN_SPEAKERS = 2

_ARCHIVE_SUFFIXES = (".tar", ".gz", ".tgz", ".zip", ".7z")
_MOST_NAMED = 5


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        path: as the lists give it: relative to the working directory where the clip lies beneath
            it, absolute elsewhere, with forward slashes.
        speaker: who speaks, unique within the corpus.
        part: the list the clip belongs to.
        duration_s: known once the clip has been decoded.
    """

    path: str
    speaker: str
    part: Part = "train"
    duration_s: float | None = None


def scan_folder(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of any corpus laid out as ``<path>/<speaker>/**/<clip>.<audio>``.

    Args:
        path: the corpus; hidden files are skipped, suffixes compared without case, and an mp3
            beside a wav of the same name counts as the same recording.

    Returns:
        Clips ordered by path, all in the part ``train``.

    Raises:
        DataError: the folder is missing, holds no audio in speakers' folders, or one speaker only.
    """
    root = _existing_folder(path)
    expected = f"{os.fspath(path)}/<speaker>/<clip>.wav"
    clips = [Clip(clip, parents[0]) for clip, parents in _in_speaker_folders(root, expected)]
    return _several_speakers(clips, root, expected)


def scan_zhvoice(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of zhvoice, ``<path>/<sub-corpus>/**/<speaker>/<clip>.mp3``.

    The speaker is the folder that the clip lies in; speakers of different sub-corpora are
    different people, even under one name.

    Args:
        path: the folder ``zhvoice``, or the one that holds it.

    Returns:
        Clips ordered by path, all in the part ``train``.

    Raises:
        DataError: the folder is missing, holds no audio in speakers' folders, or one speaker only.
    """
    root = _existing_folder(path)
    if (root / "zhvoice").is_dir():
        root = root / "zhvoice"
    expected = "zhvoice/<sub-corpus>/<speaker>/<clip>.mp3"
    clips = [
        Clip(clip, parents[0] if len(parents) == 1 else f"{parents[0]}/{parents[-1]}")
        for clip, parents in _in_speaker_folders(root, expected)
    ]
    return _several_speakers(clips, root, expected)


def scan_cnceleb(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of CN-Celeb 1 and 2 with the division that the corpus was published with.

    Training: the speakers of ``dev/dev.lst`` (without that file, those outside ``eval/``) and all
    of CN-Celeb 2. Enrolment and trials: ``eval/enroll`` and ``eval/test``, all pairs of which are
    the corpus's own trial list. Source: Fan et al., "CN-CELEB", ICASSP 2020; Li et al.,
    "CN-Celeb: multi-genre speaker recognition", Speech Communication 2022.

    Args:
        path: ``CN-Celeb_flac``, ``CN-Celeb2_flac``, or the folder that holds one or both.

    Raises:
        DataError: neither is there, or one is not completely unpacked.
    """
    first, second = _find_cnceleb(_existing_folder(path))
    clips: list[Clip] = []
    if first is not None:
        clips += _cnceleb_eval(first / "eval" / "enroll", "enroll")
        clips += _cnceleb_eval(first / "eval" / "test", "trials")
    test_speakers = {clip.speaker for clip in clips}
    if first is not None:
        clips += _cnceleb_training(first, test_speakers, _read_dev_speakers(first))
    if second is not None:
        clips += _cnceleb_training(second, test_speakers, None)
    if first is None:
        logger.warning(
            "Only CN-Celeb 2 was found, which has no test speakers: no enrolment and trials lists."
        )
    return clips


def name_some(names: Iterable[str]) -> str:
    """The first few of many names, for a message."""
    ordered = sorted(names)
    shown = ", ".join(f"'{name}'" for name in ordered[:_MOST_NAMED])
    return (
        shown if len(ordered) <= _MOST_NAMED else f"{shown} and {len(ordered) - _MOST_NAMED} more"
    )


def _existing_folder(path: str | os.PathLike[str]) -> Path:
    root = Path(os.path.abspath(Path(path).expanduser()))
    if root.is_dir():
        return root
    if root.is_file():
        raise DataError(f"'{path}' is a file; unpack it if it is an archive, and give the folder.")
    raise DataError(f"The corpus folder '{path}' does not exist; check --path.")


def _walk_audio(root: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Audio beneath a folder, ordered: its path for the lists and the folders from root to it.

    Links to folders are followed, each folder being visited once, so that no circle is endless.
    """
    here = os.getcwd().rstrip(os.sep) + os.sep
    visited: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(root, followlinks=True, onerror=_refuse_unreadable):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if _is_visible(name))
        between = os.path.relpath(parent, root)
        parents = () if between == os.curdir else tuple(between.split(os.sep))
        for name in _recordings(files):
            path = os.path.join(parent, name).removeprefix(here)
            yield path.replace(os.sep, "/"), parents


def _recordings(files: Iterable[str]) -> list[str]:
    split = {name: os.path.splitext(name) for name in sorted(files) if _is_visible(name)}
    wavs = {stem for stem, suffix in split.values() if suffix.lower() == ".wav"}
    return [
        name
        for name, (stem, suffix) in split.items()
        if suffix.lower() in AUDIO_SUFFIXES and not (suffix.lower() == ".mp3" and stem in wavs)
    ]


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(f"Cannot read the folder '{error.filename}': {error.strerror}.") from error


def _in_speaker_folders(root: Path, expected: str) -> list[tuple[str, tuple[str, ...]]]:
    found = list(_walk_audio(root))
    inside = [entry for entry in found if entry[1]]
    if len(inside) < len(found):
        logger.warning(
            "%d clips directly in '%s' are left out, because no folder names their speaker.",
            len(found) - len(inside),
            root,
        )
    if not inside:
        raise DataError(
            f"No audio was found in speakers' folders of '{root}'; expected {expected}."
        )
    return inside


def _several_speakers(clips: list[Clip], root: Path, expected: str) -> list[Clip]:
    speakers = {clip.speaker for clip in clips}
    if len(speakers) < MIN_SPEAKERS:
        raise DataError(
            f"All {len(clips)} clips of '{root}' are of one speaker, {name_some(speakers)}; "
            f"expected {expected} with at least two speakers: is --path one folder too high or low?"
        )
    return clips


def _find_cnceleb(root: Path) -> tuple[Path | None, Path | None]:
    """The folders of CN-Celeb 1 and CN-Celeb 2, as far as they are there."""
    candidates = [
        entry
        for entry in sorted(root.iterdir())
        if entry.is_dir() and _compact(entry.name).startswith("cnceleb")
    ]
    is_corpus = any((root / name).is_dir() for name in ("data", "eval", "dev"))
    if not candidates and (is_corpus or _compact(root.name).startswith("cnceleb")):
        candidates = [root]
    found: dict[bool, Path] = {}
    for folder in candidates:
        is_second = "celeb2" in _compact(folder.name)
        if is_second in found:
            raise DataError(
                f"'{found[is_second]}' and '{folder}' are both CN-Celeb {1 + is_second}; "
                "move one of them elsewhere."
            )
        needed = ("data",) if is_second else ("data", "eval/enroll", "eval/test")
        for name in needed:
            if not (folder / name).is_dir():
                raise DataError(
                    f"CN-Celeb {1 + is_second} is not complete: the folder '{folder / name}' is "
                    "missing; unpack the whole archive."
                )
        found[is_second] = folder
    if not found:
        archives = [entry.name for entry in root.iterdir() if entry.suffix in _ARCHIVE_SUFFIXES]
        cure = f"unpack {name_some(archives)} first" if archives else "check --path"
        raise DataError(f"Neither CN-Celeb_flac nor CN-Celeb2_flac was found in '{root}'; {cure}.")
    return found.get(False), found.get(True)


def _compact(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _read_dev_speakers(root: Path) -> set[str] | None:
    path = root / "dev" / "dev.lst"
    if not path.is_file():
        logger.warning("'%s' is missing: all speakers outside eval/ are taken for training.", path)
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def _cnceleb_training(root: Path, excluded: set[str], wanted: set[str] | None) -> list[Clip]:
    found = [(path, parents[0]) for path, parents in _walk_audio(root / "data") if parents]
    present = {speaker for _, speaker in found}
    if not present:
        raise DataError(
            f"No audio was found in '{root / 'data'}'; expected data/<speaker>/<clip>.flac: unpack "
            "the whole archive."
        )
    if wanted is not None and wanted - present:
        missing = wanted - present
        if missing == wanted:
            raise DataError(
                f"None of the speakers of '{root / 'dev' / 'dev.lst'} has clips in "
                f"'{root / 'data'}'; unpack the whole archive."
            )
        logger.warning(
            "%d of the %d speakers of dev.lst have no clips in '%s' (%s): is all of it unpacked?",
            len(missing),
            len(wanted),
            root / "data",
            name_some(missing),
        )
    chosen = (present if wanted is None else wanted) - excluded
    return [Clip(path, speaker) for path, speaker in found if speaker in chosen]


def _cnceleb_eval(folder: Path, part: Part) -> list[Clip]:
    # id00800-enroll.flac, id00800-singing-01-001.flac: the speaker stands before the first hyphen.
    clips = [
        Clip(path, os.path.basename(path).partition("-")[0], part)
        for path, _ in _walk_audio(folder)
    ]
    if not clips:
        raise DataError(
            f"No audio was found in '{folder}'; unpack the whole archive of CN-Celeb 1."
        )
    return clips
