"""The report as one page of HTML that needs no other file, no network and no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mvector.errors import EvaluationError
from mvector.evaluation.reports.pictures import Picture
from mvector.evaluation.reports.result_tables import (
    comparison_tables,
    rates_table,
    result_tables,
)
from mvector.evaluation.reports.tables import Column, Table, decimals, make_table
from mvector.evaluation.reports.thresholds import threshold_table
from mvector.evaluation.reports.verdicts import verdict_tables
from mvector.files import write_errors_as, write_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .9rem; text-align: right; border-bottom: 1px solid #ddd;
         font-variant-numeric: tabular-nums; white-space: pre; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:hover td { background: #f4f7fa; }
.left td, .left th { text-align: left; } .left td + td { white-space: pre-wrap;
         overflow-wrap: anywhere; }
.left td:first-child { white-space: pre; vertical-align: top; }
p.note { color: #555; margin: .4rem 0; max-width: 60rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
code { overflow-wrap: anywhere; }
"""
_WORST_COLUMNS: Sequence[Column] = (
    ("score", lambda trial: decimals(trial["score"])),
    ("enrolled", lambda trial: trial["enroll"]),
    ("tested", lambda trial: trial["test"]),
)
_KINDS = {
    "target": (
        "Target trials with the lowest scores",
        "One speaker, and judged the least alike: hard clips, or clips of two people under one "
        "name.",
    ),
    "nontarget": (
        "Non-target trials with the highest scores",
        "Two speakers, and judged the most alike: similar voices, or one person under two names.",
    ),
}


def result_page(results: dict[str, Any], pictures: Sequence[Picture]) -> str:
    """The page of one system, from what ``results.json`` holds."""
    figures, *breakdowns = result_tables(results)
    model = results["model"]
    parts = [
        f"<h1>Speaker verification of {escape(model['name'])}</h1>",
        f"<p>{escape(results['description'])}</p>",
        _section("Which threshold, and how sure?", _table(threshold_table(results))),
        _section("Figures", _table(figures)),
        *(_section(table.title, _table(table)) for table in verdict_tables(results)),
        _section("Error rates against each other", _table(rates_table(results))),
        *(_figure(picture) for picture in pictures),
        *(_section(table.title, _table(table)) for table in breakdowns),
        *(_worst_trials_section(kind, results["worst_trials"][kind]) for kind in _KINDS),
        _section("How this was computed", _definition_list(_provenance_facts(results))),
    ]
    return _html_page(f"{model['name']}: speaker verification", parts)


def comparison_page(comparison: dict[str, Any], pictures: Sequence[Picture]) -> str:
    """The page of a comparison of systems.

    Args:
        comparison: of :func:`mvector.evaluation.reports.comparison.compare_scores`, with what
            :func:`mvector.evaluation.reports.provenance.provenance` gives.
        pictures: of the same systems.
    """
    parts = [
        f"<h1>{len(comparison['systems'])} systems on the same trials</h1>",
        f"<p>{comparison['num_target']:,} target and {comparison['num_nontarget']:,} non-target "
        "trials.</p>",
        *(_section(table.title, _table(table)) for table in comparison_tables(comparison)),
        *(_figure(picture) for picture in pictures),
        _section("How this was computed", _definition_list(_provenance_facts(comparison))),
    ]
    return _html_page("Comparison of speaker verification systems", parts)


def write_page(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page, which appears whole or not at all.

    Raises:
        EvaluationError: the file cannot be written.
    """
    with write_errors_as(EvaluationError, f"'{path}'", "choose another --report"):
        # Paths that are no UTF-8 on the disk must not cost the whole report.
        write_text(Path(path), page, errors="backslashreplace")


def _html_page(title: str, parts: Iterable[str]) -> str:
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *parts,
            "</body>",
            "</html>",
            "",
        ]
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def _table(table: Table, style: str = "") -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in table.header)
    rows = [
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows
    ]
    notes = [f'<p class="note">{escape(note)}</p>' for note in table.notes]
    return "\n".join(
        [
            f"<table{style}>",
            f"<caption>{escape(table.title)}</caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *rows,
            "</tbody>",
            "</table>",
            *notes,
        ]
    )


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    description = escape(picture.description)
    return (
        f'<figure><img alt="{description}" src="data:image/png;base64,{data}">'
        f"<figcaption>{description}</figcaption></figure>"
    )


def _worst_trials_section(kind: str, trials: Sequence[dict[str, Any]]) -> str:
    title, words = _KINDS[kind]
    return _section(title, _table(make_table(words, _WORST_COLUMNS, trials), ' class="left"'))


def _provenance_facts(results: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("command", results["command"]), ("date", results["created"])]
    if "model" in results:
        model = results["model"]
        facts.append(("model", f"{model['folder']}, fingerprint {model['fingerprint']}"))
    facts += [("list", f"{entry['path']}, sha256 {entry['sha256']}") for entry in results["lists"]]
    facts.append(("versions", ", ".join(f"{k} {v}" for k, v in results["versions"].items())))
    return facts


def _definition_list(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd>\n" for name, value in facts
    )
    return f"<dl>\n{rows}</dl>"
