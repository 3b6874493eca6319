"""The commands: one module each, shared by the root scripts and the ``mvector`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mvector.cli.failures import Failure
    from mvector.cli.options import Command

GROUPS = {
    "compare and recognise": {
        "contrast": "compare two clips",
        "recognition": "enrol people and recognise them",
        "diarize": "tell who spoke when in a recording; who is short for it",
        "extract_embeddings": "write the embeddings of a list for other programs",
        "calibrate": "find the threshold on your own clips of a few people",
    },
    "prepare speech": {
        "create_data": "make the lists of a corpus",
        "inspect_data": "report what a list holds, and what is wrong with it",
        "pack_corpus": "put the clips of a list into one file that trains fast",
        "extract_features": "compute the features of a list once, into one file",
    },
    "train and measure": {
        "configs": "the configurations that come along: list them, copy them",
        "find_learning_rate": "show at which learning rates a training learns",
        "train": "train a model",
        "eval": "measure a model and its thresholds",
        "simulate_meetings": "make conversations of clips, with reference turns",
        "score_diarization": "compare who is said to speak when with who does",
        "average_checkpoints": "make one model of the weights of several",
    },
    "come from elsewhere, and go there": {
        "models": "models that others published, by name: list them, download them",
        "import_checkpoint": "make a model folder of another toolkit's checkpoint",
        "export_checkpoint": "write a model's weights for another toolkit",
        "export_onnx": "write a model as an ONNX file, which runs without PyTorch",
        "import_library": "enrol the people of an older library anew",
        "library": "copy a speaker library to another place, such as PostgreSQL",
    },
    "serve other programs": {
        "serve": "compare, enrol and recognise over HTTP",
        "keys": "who may ask that service, and for what",
    },
    "look around": {
        "plot": "pictures: clips, a map of voices, training curves of several runs",
        "demo": "a tour in a few minutes: everything above on synthetic voices",
    },
}
COMMANDS = {name: what for group in GROUPS.values() for name, what in group.items()}

_MODULES = {"eval": "evaluate"}

#: Those of the other names by which a command calls itself where it was typed so.
OWN_NAMES = ("who",)
#: Other names, of scripts and habit. A dash is as good as an underscore in all of them.
ALIASES = {
    "infer_contrast": "contrast",
    "compare": "contrast",
    "who": "diarize",
    "diarise": "diarize",
    "verify": "contrast",
    "infer_recognition": "recognition",
    "recognise": "recognition",
    "recognize": "recognition",
    "evaluate": "eval",
    "prepare": "create_data",
    "inspect": "inspect_data",
    "pack": "pack_corpus",
    "embed": "extract_embeddings",
    "average": "average_checkpoints",
    "config": "configs",
    "draw": "plot",
    "import": "import_checkpoint",
    "export": "export_checkpoint",
    "onnx": "export_onnx",
}
#: What somebody may type for one action of a command, and how to say it.
PHRASES = {
    **dict.fromkeys(("enrol", "enroll", "register", "add"), "recognition --register NAME CLIP"),
    **dict.fromkeys(("identify", "whois"), "recognition --identify CLIP"),
    **dict.fromkeys(("listen", "watch"), "recognition --watch"),
    **dict.fromkeys(("list", "users", "people"), "recognition --list"),
    **dict.fromkeys(("remove", "delete", "forget"), "recognition --remove NAME"),
    **dict.fromkeys(("devices", "list_devices"), "recognition --list_devices"),
    **dict.fromkeys(("finetune", "fine_tune"), "train --pretrained_model DIR"),
    **dict.fromkeys(("download", "get", "fetch", "pull"), "models get NAME"),
    "resume": "train --resume_model DIR",
    "infer": "contrast or recognition",
    "predict": "extract_embeddings",
    "test": "eval",
}

_USAGE = """\
usage: mvector COMMAND [options]

Who is speaking? Compare voices, recognise people, train models and measure them.

  mvector demo                                           a tour
  mvector contrast a.wav b.wav                           the same person?
  mvector recognition --register Ada ada.wav             enrol Ada
  mvector recognition --identify clip.wav                who is it?
  mvector who meeting.wav                                who spoke when?
  mvector create_data --dataset folder --path my_corpus  lists of your own speech
  mvector train --configs ecapa_tdnn                     a model of it
  mvector eval                                           how good it is
"""
_LAST = """\
mvector COMMAND --help tells more. A script that a document names is the command of its name:
python train.py is mvector train, python tools/calibrate.py is mvector calibrate."""


def find_command(name: str) -> Command:
    """The command of a name in :data:`COMMANDS`."""
    from importlib import import_module

    command: Command = import_module(f"mvector.cli.{_MODULES.get(name, name)}").COMMAND
    return command


def run_script(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one command by its name in :data:`COMMANDS`; returns the exit code."""
    from mvector.cli.running import run_command

    return run_command(lambda: find_command(name), argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The ``mvector`` command: ``mvector train …`` is ``python train.py …``."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    typed = words[0].removesuffix(".py").replace("-", "_").lower() if words else ""
    name = ALIASES.get(typed, typed)
    if name in COMMANDS:
        from mvector.cli.running import run_command
        from mvector.cli.subcommand import as_subcommand

        own = typed if typed in OWN_NAMES else name
        return run_command(lambda: as_subcommand(find_command(name), name, own), words[1:])
    from mvector.cli.failures import guarded

    return guarded("mvector", lambda failure: _without_command(words, typed, failure))


def _without_command(words: list[str], typed: str, failure: Failure) -> int:
    """Help, the version, or what is wrong with the first word."""
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version", "version"):
        from mvector.version import __version__

        print(__version__)
        return 0
    from mvector.cli.options import OptionError

    failure.as_json = "--json" in words
    raise OptionError(_unknown(words[0], typed))


def _help() -> str:
    lines = [_USAGE]
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:21}{what}" for name, what in commands.items()), ""]
    return "\n".join([*lines, _LAST])


def _unknown(word: str, typed: str) -> str:
    if word.startswith("-"):
        return (
            f"The command comes first, then its options, and '{word}' is none; see mvector --help."
        )
    from difflib import get_close_matches

    from mvector.cli.guesses import DESTRUCTIVE

    known = {**{name: name for name in COMMANDS}, **ALIASES, **PHRASES}
    # what cannot be undone is suggested to nobody who may have meant something else
    harmless = [name for name in known if not {*DESTRUCTIVE} & {*known[name].split()}]
    near = [typed] if typed in known else get_close_matches(typed, harmless, 1, cutoff=0.7)
    cure = f"did you mean mvector {known[near[0]]}?" if near else "mvector --help lists them."
    return f"There is no command '{word}'; {cure}"
