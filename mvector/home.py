"""Where mvector keeps what belongs to its user: adaptations, and models that were downloaded."""

from __future__ import annotations

import os
from pathlib import Path

#: The environment variable that names another data folder.
HOME = "MVECTOR_HOME"


def data_home() -> Path:
    """The user's data folder, by the system's convention or as :data:`HOME` says."""
    home = os.environ.get(HOME)
    if not home:
        import platformdirs

        home = platformdirs.user_data_dir("mvector", appauthor=False)
    return Path(home)
