"""``mvector configs``: the configurations that come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mvector.cli.options import Action, Command, Options, required
from mvector.errors import ConfigError
from mvector.files import read_errors_as, read_utf8, write_errors_as, write_text
from mvector.shipped import find_config, shipped_configs

_EPILOG = """\
examples:
  mvector configs                             names, each of use with --configs
  mvector configs ecapa_tdnn                  what one says
  mvector configs --copy configs              copies that you can change

--configs ecapa_tdnn takes configs/ecapa_tdnn.yml where you have one, and else the one that comes
with the package. --augment_conf_path augmentation does the same.
"""


@dataclass(frozen=True, kw_only=True)
class Copy(Options):
    copy: str = required("copy them into a folder; files that are there stay as they are", "DIR")


@dataclass(frozen=True, kw_only=True)
class Show(Options):
    name: str = required("print one of them", "NAME", positional=True)


@dataclass(frozen=True, kw_only=True)
class List(Options):
    pass


def _copy(args: Copy) -> int:
    folder = Path(args.copy)
    with write_errors_as(ConfigError, f"the configurations into '{folder}'", "choose another DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        for source in shipped_configs().values():
            target = folder / source.name
            is_there = target.exists()
            if not is_there:
                write_text(target, source.read_text(encoding="utf-8"))
            print(f"{target}{': there already, left as it is' if is_there else ''}")
    return 0


def _show(args: Show) -> int:
    path = find_config(args.name)
    with read_errors_as(ConfigError, f"The configuration file '{path}'"):
        print(read_utf8(path).rstrip("\n"))
    return 0


def _list(args: List) -> int:
    configs = shipped_configs()
    width = max(map(len, configs))
    for name, path in configs.items():
        print(f"{name:{width}}  {title_of(path)}")
    print("\nmvector train --configs NAME trains with one; --copy DIR copies them to be changed.")
    return 0


def title_of(path: Path) -> str:
    """What a configuration is for: the first sentence of the comment at its top."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return re.split(r"[.:]\s", first.lstrip("# "))[0]


COMMAND = Command(
    "mvector configs",
    "The configurations that come with the package: list them, print one, or copy them.",
    _EPILOG,
    (
        Action("--copy", Copy, _copy),
        Action("one of them", Show, _show),
        Action("a list", List, _list),
    ),
)
