"""Where the clips of published lists lie on this disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from mvector.audio import split_channel
from mvector.errors import EvaluationError

logger = logging.getLogger(__name__)

# What a clip may be named in a published list, and lie as on the disk.
_OTHER_SUFFIXES = (".flac", ".wav")


def existing_paths(paths: Sequence[str], source: str, skip_missing: bool) -> list[str]:
    """Where each clip lies; one that lies under another suffix is taken from there.

    Args:
        paths: clips as the lists name them.
        source: how messages call the lists.
        skip_missing: keep the names of clips that do not exist, unless none does.

    Raises:
        EvaluationError: clips are missing.
    """
    found: list[str] = []
    missing: list[str] = []
    for path in paths:
        file, _ = split_channel(path)
        stem, channel = os.path.splitext(file)[0], path[len(file) :]
        candidates = (file, *(stem + suffix for suffix in _OTHER_SUFFIXES))
        existing = next((clip for clip in candidates if os.path.exists(clip)), None)
        if existing is None:
            missing.append(path)
        found.append(path if existing is None else existing + channel)
    num_other = sum(one != other for one, other in zip(found, paths, strict=True))
    if num_other:
        logger.info("%d clips of %s have another suffix on the disk.", num_other, source)
    if len(missing) == len(paths):
        raise EvaluationError(
            f"None of the {len(paths)} clips of {source} exists, such as '{paths[0]}'; relative "
            f"paths start from '{os.getcwd()}' unless dataset_conf.data_root is set, and names "
            "that are no paths need dataset_conf.enroll_list to say where their clips are.",
            code="trial-clips-missing",
        )
    if missing and not skip_missing:
        listed = "".join(f"\n  {path}" for path in missing)
        raise EvaluationError(
            f"{len(missing)} of the {len(paths)} clips of {source} do not exist; restore them, or "
            "leave their trials out with --skip_missing (dataset_conf.eval_conf.skip_missing):"
            f"{listed}",
            code="trial-clips-missing",
        )
    return found
