"""What somebody meant who typed an option or a word that a command does not have."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mvector.cli.options import Command

#: What cannot be undone is suggested for a slip of the fingers, and for nothing vaguer.
DESTRUCTIVE = ("--remove",)

_SECTIONS = "dataset|preprocess|model|loss|optimizer|train|augment"
_CURE = re.compile(rf"\b(?:set|raise|lower) (?P<key>(?:{_SECTIONS})_conf\.[\w.]*\w)")


def option_cure(command: Command, spelled: str, value: str, known: Sequence[str]) -> str:
    """What to type in place of an unknown option, as the end of a sentence.

    Args:
        command: that was started.
        spelled: the option as it was typed, without its value.
        value: what was typed behind it, if anything.
        known: the options of the command as they are typed.
    """
    name = _plain(spelled)
    if name in command.guesses:
        return f"did you mean {command.guesses[name]}?"
    if command.owners("overrides"):
        from mvector.config.messages import full_keys
        from mvector.config.schema import Config

        keys = full_keys(Config, name)
        if keys:
            settings = [f"--set {key}={shlex.quote(value) if value else '…'}" for key in keys]
            return f"did you mean {' or '.join(settings)}?"
    near = get_close_matches(f"--{name}", known, 1)
    if near and near[0] in DESTRUCTIVE:
        near = get_close_matches(f"--{name}", DESTRUCTIVE, 1, cutoff=0.9)
    return f"did you mean {near[0]}?" if near else "--help lists all."


def word_cure(command: Command, word: str, known: Sequence[str], stray: str) -> str:
    """What to type in place of a word too many: an option of that name, or ``stray`` before it."""
    name = _plain(word)
    if name in command.guesses:
        return f"did you mean {command.guesses[name]}?"
    if f"--{name}" in known:
        return f"did you mean --{name}?"
    return f"did you mean {stray} {shlex.quote(word)}?" if stray else "--help tells more."


def stray_flag(command: Command, given: Collection[str]) -> str:
    """The option that a word without a place belongs to, unless it has no use with the others."""
    owners = command.owners(command.stray)
    for name in given:
        needs = command.owners(name, required=True)
        if name == command.stray or (needs and not any(action in owners for action in needs)):
            return ""
    return command.spelling(command.stray) if owners else ""


def with_setting(sentence: str) -> str:
    """A mistake whose cure is a setting, with how a command line changes one."""
    found = _CURE.search(sentence)
    if found is None or "--set" in sentence:
        return sentence
    return f"{sentence} On the command line: --set {found['key']}=VALUE."


def _plain(word: str) -> str:
    return word.lstrip("-").replace("-", "_").lower()
