"""Which model is used where none is named, and whether its thresholds hold."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mvector
from mvector.embedding.listening import Listening
from mvector.errors import CheckpointError
from mvector.evaluation.calibration import Calibration
from mvector.files import recover_folder
from mvector.models.folder import ModelInfo

if TYPE_CHECKING:
    from mvector.config import Config

logger = logging.getLogger(__name__)

#: A small model of real voices that comes with the package; docs/model_card.md tells about it.
DEFAULT_MODEL = Path(mvector.__file__).parent / "pretrained" / "ecapa_tdnn_small"

_MODELS = Path("models")


def find_model(configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None) -> Path:
    """The model of a configuration's training run; the only one trained here; the one in the box.

    Which one it is, is logged where no configuration names it.

    Raises:
        CheckpointError: several were trained here.
    """
    if configs is not None:
        from mvector.config import Config, load_config

        config = configs if isinstance(configs, Config) else load_config(configs)
        return _MODELS / config.model_name / "best_model"
    for cut_off in _MODELS.glob("*/best_model.old"):
        recover_folder(cut_off.with_name("best_model"))
    trained = sorted(path.parent for path in _MODELS.glob("*/best_model/model.yml"))
    if len(trained) > 1:
        choices = ", ".join(f"'{path}'" for path in trained)
        raise CheckpointError(
            f"There are several models; choose one by --model_path: {choices}.",
            code="model-ambiguous",
        )
    if trained:
        logger.info("The model '%s' is used, which was trained here.", trained[0])
        return trained[0]
    logger.info("The model in the box is used: docs/model_card.md says what it is good for.")
    return DEFAULT_MODEL


def check_thresholds_changeable(path: str | os.PathLike[str]) -> None:
    """Refuse to change the thresholds of the model in the box, which others rely on.

    Raises:
        CheckpointError: the folder is that model's.
    """
    if is_default_model(path):
        raise CheckpointError(
            f"The model in the box keeps its thresholds: copy its folder, '{DEFAULT_MODEL}', and "
            "name the copy by --model_path."
        )


def is_default_model(path: str | os.PathLike[str]) -> bool:
    """Whether a model folder is that of the model in the box, whose thresholds are not changed."""
    return Path(path).resolve() == DEFAULT_MODEL.resolve()


def usable_calibration(info: ModelInfo, listening: Listening, path: Path) -> Calibration | None:
    """A model's calibration, if it is one of cosines and of clips heard as ``listening`` says."""
    if not info.calibration:
        return None
    calibration = Calibration.from_dict(info.calibration)
    measured_with = Listening.from_dict(info.listening)
    if calibration.score_type != "cosine":
        why = f"are those of {calibration.score_type} scores and are not used for cosines"
    elif listening != measured_with:
        why = f"were measured hearing {measured_with}, and are not used hearing {listening}"
    else:
        return calibration
    logger.warning(
        "The thresholds in '%s' %s; measure them with eval.py or tools/calibrate.py.", path, why
    )
    return None
