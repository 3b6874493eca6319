"""Any corpus with a folder for each speaker."""

from __future__ import annotations

import os
from pathlib import Path

from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.walk import existing_folder, require_several_speakers, speaker_clips


def scan_folder(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of any corpus laid out as ``<path>/<speaker>/**/<clip>.<audio>``, ordered by path.

    Hidden files are skipped, suffixes compared without case, and an mp3 beside a wav of the same
    name counts as the same recording.

    Raises:
        DataError: the folder is missing, holds no audio in speakers' folders, or one speaker only.
    """
    root = existing_folder(path)
    expected = f"{Path(path).as_posix()}/<speaker>/<clip>.wav"
    clips = speaker_clips(root, expected)
    require_several_speakers(clips, root, expected)
    return clips
