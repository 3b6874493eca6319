"""The commands: one module each, shared by the root scripts and the ``mvector`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

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
}
_MODULES = {"eval": "evaluate"}


def run_script(command: str, argv: Sequence[str] | None = None) -> int:
    """Run one command by its name in :data:`COMMANDS`; returns the exit code."""
    from importlib import import_module

    from mvector.cli.common import run_command

    module = import_module(f"mvector.cli.{_MODULES.get(command, command)}")
    return run_command(module.build_parser, module.run, argv)


def main() -> int:
    """The ``mvector`` command: ``mvector train …`` is ``python train.py …``."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        return run_script(arguments[0], arguments[1:])
    if arguments == ["--version"]:
        from mvector.version import __version__

        print(__version__)
        return 0
    lines = "".join(f"\n  {name:18s} {what}" for name, what in COMMANDS.items())
    print(f"usage: mvector COMMAND [options]\n{lines}\n\nmvector COMMAND --help tells more.")
    return 0 if arguments in ([], ["--help"], ["-h"]) else 2
