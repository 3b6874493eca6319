"""AISHELL-1 and AISHELL-3: Mandarin, read in quiet rooms."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mvector.corpus.recipes.clip import Clip, Part, name_some
from mvector.corpus.recipes.walk import (
    existing_folder,
    inner_folder,
    not_found_error,
    require_folder,
    require_several_speakers,
    speaker_clips,
)
from mvector.errors import DataError

logger = logging.getLogger(__name__)

_PARTS: dict[str, Part] = {"train": "train", "dev": "test", "test": "test"}


def scan_aishell1(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of AISHELL-1, ``data_aishell/wav/{train,dev,test}/S0002/*.wav``.

    The 340 speakers of ``train`` train, the 60 of ``dev`` and ``test`` are test speakers. Source:
    Bu et al., "AIShell-1", O-COCOSDA 2017.

    Args:
        path: ``data_aishell``, its ``wav``, or the folder that holds it.

    Raises:
        DataError: it is not there or not completely unpacked.
    """
    root = existing_folder(path)
    wav = next(
        (
            folder
            for folder in (root / "data_aishell" / "wav", root / "wav", root)
            if any((folder / name).is_dir() for name in _PARTS) or _packed_speakers(folder)
        ),
        None,
    )
    if wav is None:
        raise not_found_error(
            "AISHELL-1 was not found in", root, "data_aishell/wav/train/S0002/*.wav"
        )
    unpacked = {speaker.name for name in _PARTS for speaker in (wav / name).glob("*")}
    if left := _packed_speakers(wav) - unpacked:
        sentence = (
            f"{len(left)} speakers of AISHELL-1 are still packed in '{wav}' "
            f"({name_some(f'{name}.tar.gz' for name in left)}); unpack them with: "
            f"cd '{wav}' && for f in *.tar.gz; do tar xzf $f; done"
        )
        if not unpacked:
            raise DataError(sentence)
        logger.warning("%s", sentence)
    clips: list[Clip] = []
    for name, part in _PARTS.items():
        folder = require_folder(wav / name, "AISHELL-1")
        clips += speaker_clips(folder, f"data_aishell/wav/{name}/S0002/<clip>.wav", part)
    return clips


def scan_aishell3(path: str | os.PathLike[str]) -> list[Clip]:
    """Clips of AISHELL-3, ``{train,test}/wav/SSB0005/*.wav``.

    The corpus was divided for speech synthesis, and its halves share speakers: all clips are given
    as training clips, to be split by speaker. Source: Shi et al., "AISHELL-3", Interspeech 2021.

    Args:
        path: the folder that holds ``train`` and ``test``, or the one above it.

    Raises:
        DataError: it is not there or not completely unpacked.
    """
    root = inner_folder(existing_folder(path), "aishell3", "dataaishell3")
    clips: list[Clip] = []
    for half in ("train", "test"):
        folder = require_folder(root / half / "wav", "AISHELL-3")
        clips += speaker_clips(folder, f"{half}/wav/SSB0005/<clip>.wav")
    require_several_speakers(clips, root, "{train,test}/wav/SSB0005/<clip>.wav")
    return clips


def _packed_speakers(folder: Path) -> set[str]:
    """Speakers whose archive lies in a folder."""
    archives = (file.name for file in folder.glob("S*.tar.gz"))
    return {name.removesuffix(".tar.gz") for name in archives if name[1:5].isdecimal()}
