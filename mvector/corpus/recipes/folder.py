"""Any corpus with a folder for each speaker."""

from __future__ import annotations

import os

from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.walk import existing_folder, several_speakers, speaker_clips


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
    root = existing_folder(path)
    expected = f"{os.fspath(path)}/<speaker>/<clip>.wav"
    return several_speakers(speaker_clips(root, expected), root, expected)
