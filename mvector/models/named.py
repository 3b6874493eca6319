"""The model in the box, which has a name instead of a folder of the user's."""

from __future__ import annotations

import os
from pathlib import Path

#: Stands for its folder wherever a model folder is named; a folder of that name is ``./box``.
BOX = "box"

#: A small model of real voices that comes with the package; docs/model_card.md tells about it.
DEFAULT_MODEL = Path(__file__).parents[1] / "pretrained" / "ecapa_tdnn_small"


def model_folder(path: str | os.PathLike[str]) -> Path:
    """The folder that a path or ``box`` stands for; ``Path("box")`` is the folder ``./box``."""
    return DEFAULT_MODEL if path == BOX else Path(path)


def model_name(folder: str | os.PathLike[str]) -> str:
    """What to name a model by, as in ``--model_path``: ``box``, or its folder in few words."""
    if is_default_model(folder):
        return BOX
    path = Path(folder).absolute()
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def is_default_model(path: str | os.PathLike[str]) -> bool:
    """Whether a model folder is that of the model in the box, whose thresholds are not changed."""
    return model_folder(path).resolve() == DEFAULT_MODEL.resolve()
