"""LibriSpeech: English audio books."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from mvector.corpus.recipes.clip import Clip, Part
from mvector.corpus.recipes.walk import existing_folder, not_found_error, speaker_clips

logger = logging.getLogger(__name__)

_SUBSET = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?")


def scan_librispeech(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of LibriSpeech, ``LibriSpeech/train-clean-100/<speaker>/<chapter>/*.flac``.

    Whichever subsets are there are taken: ``train-*`` for training, the speakers of ``dev-*`` and
    ``test-*`` as test speakers. ``path`` is ``LibriSpeech``, the folder that holds it, or one
    subset. Source: Panayotov et al., "Librispeech", ICASSP 2015.

    Raises:
        DataError: no subset is there, or one holds no audio.
    """
    root = existing_folder(path)
    subsets = (
        [root] if _SUBSET.fullmatch(root.name) else _subsets(root / "LibriSpeech") or _subsets(root)
    )
    if not subsets:
        expected = "LibriSpeech/train-clean-100/<speaker>/<chapter>/<clip>.flac"
        raise not_found_error("No subset of LibriSpeech was found in", root, expected)
    logger.info("Subsets of LibriSpeech: %s.", ", ".join(folder.name for folder in subsets))
    clips: list[Clip] = []
    for folder in subsets:
        expected = f"{folder.name}/<speaker>/<chapter>/<clip>.flac"
        part: Part = "train" if folder.name.startswith("train") else "test"
        clips += speaker_clips(folder, expected, part)
    return clips


def _subsets(folder: Path) -> list[Path]:
    return sorted(
        entry for entry in folder.glob("*") if entry.is_dir() and _SUBSET.fullmatch(entry.name)
    )
