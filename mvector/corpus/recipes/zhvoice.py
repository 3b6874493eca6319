"""zhvoice: eight open Mandarin corpora, denoised, as mp3."""

from __future__ import annotations

import os

from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.walk import (
    existing_folder,
    inner_folder,
    require_several_speakers,
    walk_speaker_folders,
)


def scan_zhvoice(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of zhvoice, ``<path>/<sub-corpus>/**/<speaker>/<clip>.mp3``, ordered by path.

    The speaker is the folder that the clip lies in; speakers of different sub-corpora are
    different people, even under one name. ``path`` may also be the folder that holds ``zhvoice``.

    Raises:
        DataError: the folder is missing, holds no audio in speakers' folders, or one speaker only.
    """
    root = inner_folder(existing_folder(path), "zhvoice")
    expected = "zhvoice/<sub-corpus>/<speaker>/<clip>.mp3"
    clips = [
        Clip(clip, parents[0] if len(parents) == 1 else f"{parents[0]}/{parents[-1]}")
        for clip, parents in walk_speaker_folders(root, expected)
    ]
    require_several_speakers(clips, root, expected)
    return clips
