"""Where downloaded models lie: in the user's data folder, each under its name.

It is the data folder and not one of caches, because a model folder may gain the user's thresholds.
"""

from __future__ import annotations

import os
from pathlib import Path

from mvector.home import data_home


def models_folder() -> Path:
    """The folder that holds a model folder for each model that was downloaded."""
    return data_home() / "models"


def published_name(folder: str | os.PathLike[str]) -> str | None:
    """The name of a downloaded model's folder; ``None`` for any other folder."""
    path = Path(folder).absolute()
    return path.name if path.parent == models_folder().absolute() else None
