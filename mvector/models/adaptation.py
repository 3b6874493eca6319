"""Where is kept what a user's own recordings add to a model.

As a rule that is the model's folder. The model in the box is shared, and is never changed: what
belongs to it lies in the user's data folder, by the model's fingerprint.
"""

from __future__ import annotations

from pathlib import Path

from mvector.home import data_home
from mvector.models.description import ModelInfo
from mvector.models.named import is_default_model


def adaptations_folder() -> Path:
    """The folder in the user's data folder that holds a folder for each adapted model."""
    return data_home() / "adapted"


def adaptation_folder(info: ModelInfo) -> Path | None:
    """The folder of a model's own strangers and thresholds; ``None`` for one that is in none."""
    if info.folder is None or not is_default_model(info.folder):
        return info.folder
    return adaptations_folder() / info.fingerprint
