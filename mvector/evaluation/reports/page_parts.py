"""The parts of a page of HTML: every text in them is escaped, and none needs another file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import repeat

from mvector.evaluation.reports.page_style import STYLE
from mvector.evaluation.reports.pictures import Picture
from mvector.evaluation.reports.tables import Table


def whole_page(title: str, kind: str, about: Iterable[str], parts: Iterable[str]) -> str:
    """A page with a heading.

    Args:
        title: of the page.
        kind: of page, above the title.
        about: lines below the title.
        parts: HTML.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)} · {escape(kind)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            "<header>",
            f'<p class="kind">{escape(kind)}</p>',
            f"<h1>{escape(title)}</h1>",
            *(f'<p class="muted">{escape(line)}</p>' for line in about),
            "</header>",
            *parts,
            "</body>",
            "</html>",
            "",
        ]
    )


def section(title: str, *parts: str) -> str:
    """Parts under a heading."""
    return "\n".join([f"<h2>{escape(title)}</h2>", *filter(None, parts)])


def tiles(figures: Sequence[tuple[str, str, str]]) -> str:
    """Figures to see first, each with its name, its value and what it says."""
    items = (
        f'<li><span class="name">{escape(name)}</span><b>{escape(value)}</b>'
        f'<span class="about">{escape(about)}</span></li>'
        for name, value, about in figures
    )
    return "\n".join(['<ul class="tiles">', *items, "</ul>"])


def table(shown: Table, caption: str = "") -> str:
    """A table that scrolls within itself, with its caption above and its notes below."""
    lines = [f'<p class="muted">{escape(caption)}</p>'] if caption else []
    if shown.rows:
        opening = f'<div class="scroll"><table aria-label="{escape(shown.title)}">'
        lines.append(table_of(opening, shown.header, (map(escape, row) for row in shown.rows)))
    return "\n".join([*lines, *map(note, shown.notes)])


def trials_table(rows: Sequence[Sequence[str]], sounds: Mapping[str, str]) -> str:
    """Scores and two clips each; a clip that ``sounds`` has a source of can be played."""
    cells = ([escape(score), *(_clip(path, sounds) for path in clips)] for score, *clips in rows)
    return table_of('<div class="scroll trials"><table>', ("score", "enrolled", "tested"), cells)


def figures(pictures: Iterable[Picture]) -> str:
    """Pictures, beside each other where there is room."""
    shown = []
    for picture in pictures:
        data = base64.b64encode(picture.png).decode("ascii")
        words = escape(picture.description)
        shown.append(
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f"<figcaption>{words}</figcaption></figure>"
        )
    return "\n".join(['<div class="pictures">', *shown, "</div>"]) if shown else ""


def beside(*parts: str) -> str:
    """Parts beside each other where there is room."""
    return "\n".join(
        ['<div class="pictures">', *(f"<div>{part}</div>" for part in parts), "</div>"]
    )


def folded(title: str, *parts: str) -> str:
    """Parts that are shown when asked for."""
    return "\n".join([f"<details><summary>{escape(title)}</summary>", *parts, "</details>"])


def to_copy(text: str) -> str:
    """Text to be copied as it is."""
    return f"<pre>{escape(text)}</pre>"


def note(text: str) -> str:
    """A small line."""
    return f'<p class="note">{escape(text)}</p>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values below each other."""
    rows = (f"<dt>{escape(name)}</dt><dd><code>{escape(text)}</code></dd>" for name, text in pairs)
    return "\n".join(["<dl>", *rows, "</dl>"])


def table_of(
    opening: str,
    header: Iterable[str],
    rows: Iterable[Iterable[str]],
    row_tags: Iterable[str] = repeat("<tr>"),
) -> str:
    """A table in what ``opening`` opens; the header is text, cells and tags of rows are HTML."""
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    lines = (
        tag + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for tag, row in zip(row_tags, rows, strict=False)
    )
    return "\n".join(
        [
            opening,
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
        ]
    )


def _clip(path: str, sounds: Mapping[str, str]) -> str:
    source = sounds.get(path)
    shown = f'<span class="path">{escape(path).replace("/", "/<wbr>")}</span>'
    if source is None:
        return shown
    return f'<audio controls preload="none" src="{escape(source)}"></audio>{shown}'
