"""A command as the ``mvector`` command runs it: where there is no clone, nothing names a script."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from mvector.cli import ALIASES, COMMANDS
from mvector.cli.options import Action, Command
from mvector.errors import MVectorError

# Behind a space or bracket only: what is quoted or part of a path is a file of the user's.
_SCRIPT = re.compile(
    r"(?<![^\s(])(?:python |(?P<torchrun>torchrun (?:--\S+ )*))?(?:tools/)?(?P<script>\w+)\.py\b"
)


_IS_SUBCOMMAND = ContextVar("_IS_SUBCOMMAND", default=False)


def as_subcommand(command: Command, name: str, typed: str | None = None) -> Command:
    """The same command with texts and mistakes that say ``mvector <name>`` in place of scripts.

    Usage and examples have the name that was typed, if that was another one.
    """

    def told(text: str) -> str:
        by_name = rf"\bmvector {name}\b"
        return re.sub(by_name, f"mvector {typed or name}", in_place_of_scripts(text))

    return replace(
        command,
        prog=f"mvector {typed or name}",
        description=told(command.description),
        epilog=told(command.epilog),
        actions=tuple(replace(each, run=_run(each)) for each in command.actions),
    )


def in_place_of_scripts(text: str) -> str:
    """A text in which ``python train.py`` and ``tools/calibrate.py`` are ``mvector`` commands."""
    return _SCRIPT.sub(_spell, text)


def as_started(text: str) -> str:
    """A text that names scripts, in the spelling that fits how the running command was started."""
    return in_place_of_scripts(text) if _IS_SUBCOMMAND.get() else text


def _spell(found: re.Match[str]) -> str:
    name = ALIASES.get(found["script"], found["script"])
    if name not in COMMANDS:
        return found[0]
    return f"{found['torchrun']}-m mvector {name}" if found["torchrun"] else f"mvector {name}"


def _run(action: Action[Any]) -> Callable[[Any], int]:
    def run(options: Any) -> int:
        before = _IS_SUBCOMMAND.set(True)
        try:
            return action.run(options)
        except MVectorError as error:
            error.args = (in_place_of_scripts(str(error)),)
            raise
        finally:
            _IS_SUBCOMMAND.reset(before)

    return run
