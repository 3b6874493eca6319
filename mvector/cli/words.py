"""The words of a command line as argparse can take them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SHIELD = "\0"  # no word that a process is given has one


def for_argparse(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names of options with underscores for dashes; behind ``--``, nothing looks like an option.

    An option with several values takes those behind ``--`` too: ``--register -- -Ann a.wav``.
    """
    last = words.index("--") if "--" in words else len(words)
    spelled = []
    for word in words[:last]:
        name, equals, value = word.partition("=")
        name = name[:2] + name[2:].replace("-", "_")
        spelled.append(f"{name}{equals}{value}" if name in known else word)
    behind = words[last + 1 :]
    return spelled + [f"{_SHIELD}{each}" if each.startswith("-") else each for each in behind]


def as_typed(value: Any) -> Any:
    """A value that was parsed of such words, or a list of them, as it was typed."""
    if isinstance(value, list):
        return [as_typed(each) for each in value]
    return value.removeprefix(_SHIELD) if isinstance(value, str) else value
