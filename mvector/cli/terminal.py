"""What people see: marks before answers, and colours where a terminal shows them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TextIO

RED, GREEN, YELLOW = 31, 32, 33

# between user and host of an address, or behind its question mark
_PASSWORD = re.compile(
    r"(postgres(?:ql)?://[^\s:/@?'\"]*:)[^\s'\"]*(?=@)|(?<=[?&]password=)[^\s'\"&]*", re.I
)


class Mark(Enum):
    """A sign before a line: as it is drawn, in ASCII, and the number of its colour."""

    YES = ("✔", "+", GREEN)
    NO = ("✘", "x", RED)
    UNSURE = ("?", "?", YELLOW)
    MIND = ("!", "!", YELLOW)


#: Of the answers to a comparison; see :class:`mvector.recognition.Decision`.
MARK_OF = {"same": Mark.YES, "different": Mark.NO, "cannot tell": Mark.UNSURE}


def has_colour(stream: TextIO) -> bool:
    """Whether escape codes make colours there: on a terminal, unless ``NO_COLOR`` says no.

    https://no-color.org: any value but an empty one switches colours off.
    """
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # the console of Windows shows codes as rubbish, unless it is its newer terminal
    return sys.platform != "win32" or "WT_SESSION" in os.environ or "TERM" in os.environ


def coloured(text: str, colour: int, stream: TextIO) -> str:
    """The text bold in a colour, or as it is."""
    return f"\x1b[1;{colour}m{text}\x1b[0m" if has_colour(stream) else text


def marked(mark: Mark, text: str) -> str:
    """A line for standard output that begins with a mark."""
    sign, plain, colour = mark.value
    try:
        sign.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        sign = plain
    return f"{coloured(sign, colour, sys.stdout)} {text}"


def mind_lines(reasons: Iterable[str]) -> list[str]:
    """What to mind, one indented line each."""
    return [f"  {marked(Mark.MIND, reason)}" for reason in reasons]


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, in columns as wide as the longest of their cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def without_passwords(text: str) -> str:
    """The text, and in place of each password of a database's address a sign that there was one."""
    return _PASSWORD.sub(lambda found: f"{found[1] or ''}***", text)
