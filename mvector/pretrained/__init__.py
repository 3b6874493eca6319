"""The model in the box, and which model is used where none is named."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mvector.config import Config, load_config
from mvector.errors import CheckpointError
from mvector.files import recover_folder

logger = logging.getLogger(__name__)

#: A small model of real voices that comes with the package; docs/model_card.md tells about it.
DEFAULT_MODEL = Path(__file__).parent / "ecapa_tdnn_small"

_MODELS = Path("models")


def find_model(
    configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
) -> Path:
    """The model folder that a configuration's training run wrote; without one the model in the box.

    Which one it is, is logged where no configuration names it.
    """
    if configs is not None:
        config = configs if isinstance(configs, Config) else load_config(configs)
        return _MODELS / config.model_name / "best_model"
    trained = _trained()
    hint = f"; choose '{trained[0]}' by --model_path" if trained else ""
    logger.info("The model in the box is used (docs/model_card.md)%s.", hint)
    return DEFAULT_MODEL


def find_trained() -> Path:
    """The only model that was trained here; without any the model in the box.

    Raises:
        CheckpointError: there are several to choose from.
    """
    for cut_off in _MODELS.glob("*/best_model.old"):
        recover_folder(cut_off.with_name("best_model"))
    found = _trained()
    if len(found) > 1:
        choices = ", ".join(f"'{path}'" for path in found)
        raise CheckpointError(f"There are several models; choose one by --model_path: {choices}.")
    return found[0] if found else find_model()


def is_default(path: str | os.PathLike[str]) -> bool:
    """Whether a model folder is that of the model in the box, whose thresholds are not changed."""
    return Path(path).resolve() == DEFAULT_MODEL.resolve()


def _trained() -> list[Path]:
    return sorted(path.parent for path in _MODELS.glob("*/best_model/model.yml"))
