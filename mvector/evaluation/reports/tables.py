"""Tables of text, for the terminal and for the page alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

#: The header of a column, and its cell for what a row shows.
Column: TypeAlias = tuple[str, Callable[[Any], str]]

_MISSING = "-"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: above it.
        header: names of the columns; the first is set to the left, the others to the right.
        rows: one text for each column.
        notes: sentences below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def make_table(
    title: str, columns: Sequence[Column], rows: Iterable[Any], notes: Sequence[str] = ()
) -> Table:
    """A table with a cell of each column in each row."""
    header = tuple(name for name, _ in columns)
    texts = [tuple(cell(row) for _, cell in columns) for row in rows]
    return Table(title, header, texts, notes)


def render_text(table: Table) -> str:
    """A table for a terminal."""
    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(_width(text) for text in column) for column in columns]
    lines = []
    for row in (table.header, *table.rows):
        first, *others = (
            text + " " * space if place == 0 else " " * space + text
            for place, (text, space) in enumerate(
                (text, width - _width(text)) for text, width in zip(row, widths, strict=True)
            )
        )
        lines.append("   ".join((first, *others)).rstrip())
    lines.insert(1, "-" * max(map(_width, lines)))
    return "\n".join([table.title, *lines, *table.notes])


def percent(rate: float | None) -> str:
    """A rate as text."""
    if rate is None:
        return _MISSING
    return f"{100.0 * rate:.2f} %" if rate >= 1e-3 or rate == 0 else f"{100.0 * rate:.2g} %"


def decimals(value: float | None, missing: str = _MISSING) -> str:
    """A cost or a threshold as text."""
    return missing if value is None else f"{value:.4f}"


def interval_text(figure: Mapping[str, Any], shown: Callable[[float], str]) -> str:
    """The interval of a figure as text, empty where it has none."""
    if figure.get("low") is None:
        return ""
    return f"{shown(figure['low'])} to {shown(figure['high'])}"


def _width(text: str) -> int:
    """Columns of a terminal that a text takes; Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
