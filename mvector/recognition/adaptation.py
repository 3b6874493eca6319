"""What adapts the model in the box to a user's people, kept in the user's data folder."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mvector.config.plain_yaml import parse_plain_yaml
from mvector.errors import CheckpointError, MVectorError
from mvector.evaluation.calibration import Calibration
from mvector.files import recover_folder, replacing_folder, write_errors_as
from mvector.models.adaptation import adaptation_folder, adaptations_folder
from mvector.models.description import ModelInfo
from mvector.scoring.strangers import MIN_OWN, save_own_cohort

logger = logging.getLogger(__name__)

#: Thresholds, beside the own strangers.
_FILE, _FORMAT_VERSION = "adaptation.yml", 1


def save_adaptation(info: ModelInfo, calibration: Calibration, people: np.ndarray) -> Path:
    """Keep what adapts the model in the box in the user's data folder, in place of the earlier.

    Args:
        info: of the model.
        calibration: with what was measured on these people.
        people: a voiceprint of each, ``(people, D)``; fewer than are own strangers are not kept.

    Returns:
        The folder.

    Raises:
        CheckpointError: it cannot be written.
    """
    folder = _folder_of(info)
    values: dict[str, Any] = {
        "format_version": _FORMAT_VERSION,
        "fingerprint": info.fingerprint,
        "calibration": calibration.to_dict(),
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    with write_errors_as(CheckpointError, f"'{folder}'"), replacing_folder(folder) as new:
        (new / _FILE).write_text(text, encoding="utf-8")
        if len(people) >= MIN_OWN:
            save_own_cohort(new, people, info.fingerprint)
    return folder


def adapted_calibration_of(info: ModelInfo) -> Calibration | None:
    """The calibration that was kept for the model in the box, if this is it and there is one.

    Raises:
        CheckpointError: what was kept is damaged or of another version.
    """
    folder = adaptation_folder(info)
    if folder is None or folder == info.folder:
        return None
    file = folder / _FILE
    try:
        recover_folder(folder)
        if not os.path.lexists(file):
            return None
        values = parse_plain_yaml(file.read_text(encoding="utf-8"))
        version, found = values["format_version"], values["fingerprint"]
        calibration = Calibration.from_dict(values["calibration"])
        if version != _FORMAT_VERSION:
            raise ValueError
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, MVectorError) as error:
        raise CheckpointError(
            f"'{file}', which adapts the model in the box to your people, is damaged; "
            "take it back by tools/calibrate.py --forget, and calibrate again.",
            code="checkpoint-damaged",
        ) from error
    if found != info.fingerprint:
        logger.warning("'%s' is of another model (%s) and is not used.", file, found)
        return None
    logger.info("Adapted to %s of your people by '%s'.", calibration.num_own_people, folder)
    return calibration


def forget_adaptations() -> Path | None:
    """Delete all that was kept for the model in the box, of every version of it.

    Returns:
        The folder that is gone; ``None`` if there was none.

    Raises:
        CheckpointError: it cannot be deleted.
    """
    folder = adaptations_folder()
    if not os.path.lexists(folder):
        return None
    with write_errors_as(CheckpointError, f"'{folder}'"):
        shutil.rmtree(folder)
    return folder


def _folder_of(info: ModelInfo) -> Path:
    folder = adaptation_folder(info)
    assert folder is not None
    return folder
