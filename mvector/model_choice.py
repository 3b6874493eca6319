"""Which model is meant where none is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.errors import CheckpointError
from mvector.files import recover_folder

if TYPE_CHECKING:
    from mvector.config import Config

_MODELS = Path("models")


def find_model(
    configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
) -> Path:
    """The model folder that a configuration's training run wrote, or the only one there is.

    Raises:
        CheckpointError: there is none, or several to choose from.
    """
    if configs is not None:
        from mvector.config import Config, load_config

        config = configs if isinstance(configs, Config) else load_config(configs)
        return _MODELS / config.model_name / "best_model"
    for cut_off in _MODELS.glob("*/best_model.old"):
        recover_folder(cut_off.with_name("best_model"))
    found = sorted(path.parent for path in _MODELS.glob("*/best_model/model.yml"))
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"'{path}'" for path in found)
        raise CheckpointError(f"There are several models; choose one by --model_path: {choices}.")
    raise CheckpointError(
        f"There is no trained model under '{_MODELS}/'; train one with train.py, or give "
        "--model_path."
    )
