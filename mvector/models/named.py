"""Models that have a name instead of a folder of the user's: that in the box, published ones."""

from __future__ import annotations

import os
from pathlib import Path

from mvector.published.places import models_folder, published_name

#: Stands for its folder wherever a model folder is named; a folder of that name is ``./box``.
BOX = "box"

#: A small model of real voices that comes with the package; docs/model_card.md tells about it.
DEFAULT_MODEL = Path(__file__).parents[1] / "pretrained" / "ecapa_tdnn_small"


def model_folder(path: str | os.PathLike[str]) -> Path:
    """The folder that a path, ``box`` or the name of a published model stands for.

    ``Path("box")`` is the folder ``./box``. A folder of a published model's name comes before the
    model that was downloaded.
    """
    if path == BOX:
        return DEFAULT_MODEL
    if isinstance(path, str) and not os.path.exists(path):
        from mvector.published.table import is_published  # the table is of no use to other folders

        if is_published(path):
            return models_folder() / path
    return Path(path)


def model_name(folder: str | os.PathLike[str]) -> str:
    """What to name a model by, as in ``--model_path``: its name, or its folder in few words."""
    if is_default_model(folder):
        return BOX
    name = published_name(folder)
    if name is not None and model_folder(name).absolute() == Path(folder).absolute():
        return name
    path = Path(folder).absolute()
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def is_default_model(path: str | os.PathLike[str]) -> bool:
    """Whether a model folder is that of the model in the box, whose thresholds are not changed."""
    return model_folder(path).resolve() == DEFAULT_MODEL.resolve()
