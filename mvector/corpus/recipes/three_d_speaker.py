"""The 3D-Speaker corpus: Mandarin, many devices, distances and dialects."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.pairs import PublishedTrials, read_trial_files
from mvector.corpus.recipes.walk import (
    existing_folder,
    inner_folder,
    not_found,
    speaker_clips,
    unpacking_hint,
)

logger = logging.getLogger(__name__)

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

    Returns:
        Clips ordered by path, and the trials.

    Raises:
        DataError: neither folder is there, one holds no audio, or a trial file cannot be used.
    """
    root = existing_folder(path)
    if not any((root / half).is_dir() for half in ("train", "test")):
        root = inner_folder(root, "3dspeaker")
    clips: list[Clip] = []
    if (root / "train").is_dir():
        clips += speaker_clips(_speakers(root, "train"), f"train/{_EXAMPLE}")
    if (root / "test").is_dir():
        clips += speaker_clips(_speakers(root, "test"), f"test/{_EXAMPLE}", "test")
    if not clips:
        expected = f"train/{_EXAMPLE} and test/<speaker>/<clip>.wav"
        raise not_found("3D-Speaker was not found in", root, expected)
    for half in ("train", "test"):
        if not (root / half).is_dir():
            hint = unpacking_hint(root)
            logger.warning(
                "3D-Speaker is not complete: the folder '%s' is missing%s.",
                root / half,
                f"; {hint}" if hint else "",
            )
    own = sorted(str(file) for file in (root / "files").glob("trials_*") if file.is_file())
    key_of = {_utterance(clip.path): clip.key for clip in clips}
    if not any(clip.part == "test" for clip in clips):
        own = []
    return clips, read_trial_files(
        [*own, *trials], lambda name: key_of.get(_utterance(name)), Path(_EXAMPLE).stem
    )


def _speakers(root: Path, half: str) -> Path:
    # An archive that holds train/ itself, unpacked into a folder train/.
    inner = root / half / half
    return inner if inner.is_dir() else root / half


def _utterance(path: str) -> str:
    return os.path.splitext(path.rsplit("/", 1)[-1])[0]
