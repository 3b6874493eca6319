"""What comes with the package beside its modules: configurations, and clips to try it on."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path

from mvector.errors import ConfigError

_PACKAGE = Path(__file__).parent
_IN_A_CLONE = {"configs": "configs", "samples": "dataset/samples"}


def shipped_folder(name: str) -> Path:
    """The folder ``configs`` or ``samples``: beside the modules where they are installed, in a
    clone where somebody who reads the repository looks for it."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / _IN_A_CLONE[name]


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with the package, by name."""
    return {path.stem: path for path in sorted(shipped_folder("configs").glob("*.yml"))}


def find_config(named: str | os.PathLike[str]) -> Path:
    """The file that a configuration's path or name means.

    A file of that path comes first. A name without a folder, such as ``ecapa_tdnn``, ``EcapaTdnn``
    or ``ecapa_tdnn.yml``, then means the file in ``configs/`` of the current folder, which may be a
    changed copy, and after that the one that comes with the package. Behind a folder, it means the
    file there.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(named)
    if path.is_file():
        return path
    shipped = shipped_configs()
    names = {_plain(name): name for name in shipped}
    name = names.get(_plain(path.name.removesuffix(".yml").removesuffix(".yaml")))
    has_folder = len(path.parts) > 1
    beside = path.parent / f"{name}.yml"
    if name and has_folder and beside.is_file():  # configs/cam++.yml of older documents
        return beside
    if name and not has_folder:
        own = Path("configs") / f"{name}.yml"
        return own if own.is_file() else shipped[name]
    if path.exists():  # a folder, a device …: reading it says what is wrong
        return path
    if name:
        cure = f"'{name}' alone names the one that comes with the package, which "
        cure += "'mvector configs --copy DIR' copies"
    elif has_folder:
        cure = "check the path"
    else:
        near = get_close_matches(_plain(path.stem), names, 1)
        choices = [names[each] for each in near] or shipped
        cure = f"check the path, or name one that comes with the package: {', '.join(choices)}"
    raise ConfigError(f"The configuration file '{named}' does not exist; {cure}.")


def _plain(name: str) -> str:
    spoken = name.lower().replace("++", "pplus")  # CAM++ is campplus
    return re.sub(r"[^a-z0-9]", "", spoken)
