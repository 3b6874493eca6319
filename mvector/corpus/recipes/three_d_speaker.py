"""The 3D-Speaker corpus: Mandarin, many devices, distances and dialects."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from mvector.corpus.recipes.clip import Clip, Part
from mvector.corpus.recipes.pairs import PublishedTrials, read_trial_files
from mvector.corpus.recipes.walk import (
    existing_folder,
    inner_folder,
    not_found_error,
    speaker_clips,
    unpacking_hint,
)

logger = logging.getLogger(__name__)

_PARTS: tuple[Part, ...] = ("train", "test")
_EXAMPLE = "3D_SPK_00001/3D_SPK_00001_001_Device01_Distance00_Dialect00.wav"


def scan_3dspeaker(
    path: str | os.PathLike[str], trials: Sequence[str] = ()
) -> tuple[list[Clip], list[PublishedTrials]]:
    """Clips of 3D-Speaker, ``{train,test}/3D_SPK_00001/*.wav``, and its trials.

    Speakers of ``test`` are test speakers; without that folder, all are given as training clips.
    Source: Zheng et al., "3D-Speaker: A large-scale multi-device, multi-distance, and
    multi-dialect corpus for speech representation disentanglement", 2023.

    Args:
        path: the folder that holds ``train`` and ``test``, or the one above it.
        trials: files of trials; those named ``files/trials_*`` are taken by themselves.

    Raises:
        DataError: neither folder is there, one holds no audio, or a trial file cannot be used.
    """
    root = existing_folder(path)
    if not any((root / part).is_dir() for part in _PARTS):
        root = inner_folder(root, "3dspeaker")
    clips: list[Clip] = []
    lacking: list[Path] = []
    for part in _PARTS:
        folder = root / part
        if folder.is_dir():
            clips += speaker_clips(_speakers(folder), f"{part}/{_EXAMPLE}", part)
        else:
            lacking.append(folder)
    if not clips:
        expected = f"train/{_EXAMPLE} and test/<speaker>/<clip>.wav"
        raise not_found_error("3D-Speaker was not found in", root, expected)
    hint = unpacking_hint(root)
    cure = f"; {hint}" if hint else ""
    for folder in lacking:
        logger.warning("3D-Speaker is not complete: the folder '%s' is missing%s.", folder, cure)
    own = sorted(str(file) for file in (root / "files").glob("trials_*") if file.is_file())
    key_of = {_utterance(clip.path): clip.key for clip in clips}
    if not any(clip.part == "test" for clip in clips):
        own = []
    return clips, read_trial_files(
        [*own, *trials], lambda name: key_of.get(_utterance(name)), Path(_EXAMPLE).stem
    )


def _speakers(folder: Path) -> Path:
    # An archive that holds train/ itself, unpacked into a folder train/.
    inner = folder / folder.name
    return inner if inner.is_dir() else folder


def _utterance(path: str) -> str:
    return os.path.splitext(path.rsplit("/", 1)[-1])[0]
