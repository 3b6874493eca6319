"""CN-Celeb 1 and 2, with the test that the corpus was published with."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mvector.corpus.recipes.clip import Clip, Part, name_some
from mvector.corpus.recipes.pairs import PAIRS_NAME, PublishedTrials, read_published_trials
from mvector.corpus.recipes.walk import (
    existing_folder,
    normalised_name,
    not_found_error,
    read_lines,
    require_folder,
    walk_audio,
)
from mvector.errors import DataError

logger = logging.getLogger(__name__)


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
    first, second = _find_cnceleb(existing_folder(path))
    clips: list[Clip] = []
    if first is not None:
        clips += _eval_clips(first / "eval" / "enroll", "enroll")
        clips += _eval_clips(first / "eval" / "test", "trials")
    test_speakers = {clip.speaker for clip in clips}
    if first is not None:
        clips += _training_clips(first, test_speakers, _read_dev_speakers(first))
    if second is not None:
        clips += _training_clips(second, test_speakers, None)
    if first is None:
        logger.warning(
            "Only CN-Celeb 2 was found, which has no test speakers: no enrolment and trials lists."
        )
    return clips


def cnceleb_trials(path: str | os.PathLike[str], clips: list[Clip]) -> list[PublishedTrials]:
    """The trials of ``eval/lists/trials.lst``, if that file is there.

    Its lines are ``id00800-enroll test/id00800-singing-01-002.wav 1``; ``enroll.lst`` says which
    clip ``id00800-enroll`` is. The suffixes are those of the wav release, whatever the audio has.
    ``path`` and ``clips`` are those of :func:`scan_cnceleb`.

    Raises:
        DataError: a list is malformed.
    """
    first, _ = _find_cnceleb(existing_folder(path))
    lists = None if first is None else first / "eval" / "lists"
    if lists is None or not (lists / "trials.lst").is_file():
        return []
    clip_of_model: dict[str, str] = {}
    if (lists / "enroll.lst").is_file():
        for number, line in read_lines(lists / "enroll.lst"):
            fields = line.split()
            if len(fields) < 2:
                raise DataError(
                    f"'{lists / 'enroll.lst'}', line {number}: expected 'id00800-enroll "
                    f"enroll/id00800-enroll.wav', got '{line[:80]}'."
                )
            clip_of_model[fields[0]] = fields[1]
    key_of = {
        _name_in_lists(clip.path): clip.key for clip in clips if clip.part in ("enroll", "trials")
    }

    def find(name: str) -> str | None:
        path = clip_of_model.get(name) or (name if "/" in name else f"enroll/{name}")
        return key_of.get(_name_in_lists(path))

    return [read_published_trials(lists / "trials.lst", PAIRS_NAME, find)]


def _name_in_lists(path: str) -> str:
    """``enroll/id00800-enroll`` of any path that ends so."""
    return "/".join(os.path.splitext(path)[0].split("/")[-2:])


def _find_cnceleb(root: Path) -> tuple[Path | None, Path | None]:
    """The folders of CN-Celeb 1 and CN-Celeb 2, as far as they are there."""
    candidates = [
        entry
        for entry in sorted(root.iterdir())
        if entry.is_dir() and normalised_name(entry.name).startswith("cnceleb")
    ]
    is_corpus = any((root / name).is_dir() for name in ("data", "eval", "dev"))
    if not candidates and (is_corpus or normalised_name(root.name).startswith("cnceleb")):
        candidates = [root]
    found: dict[bool, Path] = {}
    for folder in candidates:
        is_second = "celeb2" in normalised_name(folder.name)
        if is_second in found:
            raise DataError(
                f"'{found[is_second]}' and '{folder}' are both CN-Celeb {1 + is_second}; "
                "move one of them elsewhere."
            )
        for name in ("data",) if is_second else ("data", "eval/enroll", "eval/test"):
            require_folder(folder / name, f"CN-Celeb {1 + is_second}")
        found[is_second] = folder
    if not found:
        raise not_found_error("CN-Celeb was not found in", root, "CN-Celeb_flac or CN-Celeb2_flac")
    return found.get(False), found.get(True)


def _read_dev_speakers(root: Path) -> set[str] | None:
    path = root / "dev" / "dev.lst"
    if not path.is_file():
        logger.warning("'%s' is missing: all speakers outside eval/ are taken for training.", path)
        return None
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def _training_clips(root: Path, excluded: set[str], wanted: set[str] | None) -> list[Clip]:
    found = [(path, parents[0]) for path, parents in walk_audio(root / "data") if parents]
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


def _eval_clips(folder: Path, part: Part) -> list[Clip]:
    # id00800-enroll.flac, id00800-singing-01-001.flac: the speaker stands before the first hyphen.
    clips = [
        Clip(path, os.path.basename(path).partition("-")[0], part) for path, _ in walk_audio(folder)
    ]
    if not clips:
        raise DataError(
            f"No audio was found in '{folder}'; unpack the whole archive of CN-Celeb 1."
        )
    return clips
