"""The commands: one module each, shared by the root scripts and the ``mvector`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mvector.cli.options import Command

COMMANDS = {
    "create_data": "make the lists of a corpus",
    "inspect_data": "report what a list holds, and what is wrong with it",
    "pack_corpus": "put the clips of a list into one file that trains fast",
    "extract_features": "compute the features of a list once, into one file",
    "find_learning_rate": "show at which learning rates a training learns",
    "train": "train a model",
    "average_checkpoints": "make one model of the weights of several",
    "extract_embeddings": "write the embeddings of a list for other programs",
    "eval": "measure a model and its thresholds",
    "calibrate": "find the threshold on your own clips of a few people",
    "contrast": "compare two clips",
    "recognition": "enrol people and recognise them",
    "import_library": "enrol the people of an older library anew",
    "import_checkpoint": "make a model folder of another toolkit's checkpoint",
    "export_checkpoint": "write a model's weights for another toolkit",
}
_MODULES = {"eval": "evaluate"}


def find_command(name: str) -> Command:
    """The command of a name in :data:`COMMANDS`."""
    from importlib import import_module

    command: Command = import_module(f"mvector.cli.{_MODULES.get(name, name)}").COMMAND
    return command


def run_script(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one command by its name in :data:`COMMANDS`; returns the exit code."""
    from mvector.cli.common import run_command

    return run_command(find_command(name), argv)


def main() -> int:
    """The ``mvector`` command: ``mvector train …`` is ``python train.py …``."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        return run_script(arguments[0], arguments[1:])
    if arguments == ["--version"]:
        from mvector.version import __version__

        print(__version__)
        return 0
    if arguments and not arguments[0].startswith("-"):
        from difflib import get_close_matches

        near = [f"; did you mean {name}?" for name in get_close_matches(arguments[0], COMMANDS, 1)]
        print(f"mvector: error: no command '{arguments[0]}'{''.join(near)}", file=sys.stderr)
        return 2
    lines = "".join(f"\n  {name:18s} {what}" for name, what in COMMANDS.items())
    print(f"usage: mvector COMMAND [options]\n{lines}\n\nmvector COMMAND --help tells more.")
    return 0 if arguments in ([], ["--help"], ["-h"]) else 2
