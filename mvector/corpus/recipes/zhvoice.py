"""zhvoice: eight open Mandarin corpora, denoised, as mp3."""

from __future__ import annotations

import os

from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.walk import (
    existing_folder,
    in_speaker_folders,
    inner_folder,
    several_speakers,
)


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
    root = inner_folder(existing_folder(path), "zhvoice")
    expected = "zhvoice/<sub-corpus>/<speaker>/<clip>.mp3"
    clips = [
        Clip(clip, parents[0] if len(parents) == 1 else f"{parents[0]}/{parents[-1]}")
        for clip, parents in in_speaker_folders(root, expected)
    ]
    return several_speakers(clips, root, expected)
