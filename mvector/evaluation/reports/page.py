"""The report as one page of HTML that needs no other file, no network and no script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mvector.errors import EvaluationError
from mvector.evaluation.reports.page_parts import (
    beside,
    facts,
    figures,
    folded,
    note,
    section,
    table,
    tiles,
    to_copy,
    trials_table,
    whole_page,
)
from mvector.evaluation.reports.pictures import ERROR_RATES, Picture
from mvector.evaluation.reports.result_tables import (
    comparison_tables,
    rates_table,
    result_tables,
)
from mvector.evaluation.reports.sounds import sound_sources
from mvector.evaluation.reports.tables import decimals, interval_text, percent
from mvector.evaluation.reports.thresholds import threshold_table
from mvector.evaluation.reports.verdicts import verdict_tables
from mvector.files import write_errors_as, write_text

_KINDS = {
    "target": (
        "One person, judged the least alike",
        "Target trials with the lowest scores: hard clips, or clips of two people under one name.",
    ),
    "nontarget": (
        "Two people, judged the most alike",
        "Non-target trials with the highest scores: similar voices, or one person under two names.",
    ),
}
_NUM_PLAYED = 10  # worst trials of a kind that are open to the eye, and can be heard


def result_page(
    results: dict[str, Any], pictures: Sequence[Picture], sounds: Mapping[str, str] | None = None
) -> str:
    """The page of one system.

    Args:
        results: what ``results.json`` holds.
        pictures: of :func:`mvector.evaluation.reports.pictures.result_pictures`.
        sounds: of :func:`worst_sounds`; without, no clip can be played.
    """
    model, sounds = results["model"], sounds or {}
    all_figures, *breakdowns = result_tables(results)
    all_rates = rates_table(results)
    words = f"{all_rates.title}."
    curves = [picture for picture in pictures if picture.name != ERROR_RATES]
    rates = [picture for picture in pictures if picture.name == ERROR_RATES]
    parts = [
        tiles(_headline(results)),
        to_copy(results["summary"]["text"]),
        folded("As a row of a LaTeX table", to_copy(results["summary"]["latex"])),
        section(
            "Which threshold, and how sure?",
            table(threshold_table(results), f"Scores: {results['scored_by']}."),
        ),
        section("Curves", figures(curves)),
        *(section(shown.title, table(shown)) for shown in verdict_tables(results)),
        section("All figures", table(all_figures, f"{all_figures.title}.")),
        section("Error rates against each other", beside(figures(rates), table(all_rates, words))),
        *(section(shown.title, table(shown)) for shown in breakdowns),
        *(_worst_section(kind, results["worst_trials"][kind], sounds) for kind in _KINDS),
        section("How this was computed", facts(_provenance_facts(results))),
    ]
    about = [f"{model['name']} on {results['description']}"]
    return whole_page(model.get("title", model["folder"]), "Speaker verification", about, parts)


def comparison_page(comparison: dict[str, Any], pictures: Sequence[Picture]) -> str:
    """The page of a comparison of systems.

    Args:
        comparison: of :func:`mvector.evaluation.reports.comparison.compare_scores`, with what
            :func:`mvector.evaluation.reports.provenance.provenance` gives.
        pictures: of the same systems.
    """
    p_target = comparison["p_targets"][0]
    shown = [
        (
            system["name"],
            percent(system["eer"]),
            f"EER; minDCF {system['min_dcf'][0]:.3f} at p {p_target:g}",
        )
        for system in comparison["systems"]
    ]
    parts = [
        tiles(shown),
        *(section(shown.title, table(shown)) for shown in comparison_tables(comparison)),
        section("Curves", figures(pictures)),
        section("How this was computed", facts(_provenance_facts(comparison))),
    ]
    about = [
        f"The same {comparison['num_target']:,} target and {comparison['num_nontarget']:,} "
        "non-target trials."
    ]
    title = " and ".join(system["name"] for system in comparison["systems"])
    return whole_page(title, "Comparison of speaker verification", about, parts)


def worst_sounds(results: dict[str, Any], folder: str | os.PathLike[str]) -> dict[str, str]:
    """What the page in ``folder`` plays of the trials that ``results`` says are the worst."""
    return sound_sources(
        [
            trial[side]
            for place in range(_NUM_PLAYED)
            for kind in _KINDS
            for trial in results["worst_trials"][kind][place : place + 1]
            for side in ("enroll", "test")
        ],
        folder,
    )


def write_page(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page, which appears whole or not at all.

    Raises:
        EvaluationError: the file cannot be written.
    """
    with write_errors_as(EvaluationError, f"'{path}'", "choose another --report"):
        # Paths that are no UTF-8 on the disk must not cost the whole report.
        write_text(Path(path), page, errors="backslashreplace")


def _headline(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures to see first: name, value, and what to know of it."""
    eer, cost = results["eer"], results["detection_costs"][0]
    confidence = results["bootstrap"].get("confidence")
    level = f" ({100 * confidence:g} %)" if confidence else ""
    min_dcf = "{:.3f}".format
    num_target, num_nontarget = results["num_target"], results["num_nontarget"]
    shown = [
        ("EER", percent(eer["value"]), interval_text(eer, percent) + level),
        (
            f"minDCF, p {cost['p_target']:g}",
            min_dcf(cost["value"]),
            interval_text(cost, min_dcf) + level,
        ),
        ("Threshold", decimals(eer["threshold"]), "at the EER: from here on one person"),
        (
            "Trials",
            f"{num_target + num_nontarget:,}",
            f"{num_target:,} of one person, {num_nontarget:,} of two",
        ),
        ("Speakers", f"{results['num_speakers']:,}", f"by {results['speakers_from']}"),
    ]
    # a number and its sign stay in one line
    return [(name, value, about.replace(" %", "\u00a0%")) for name, value, about in shown]


def _worst_section(kind: str, trials: Sequence[dict[str, Any]], sounds: Mapping[str, str]) -> str:
    title, words = _KINDS[kind]
    rows = [(decimals(trial["score"]), trial["enroll"], trial["test"]) for trial in trials]
    first, others = rows[:_NUM_PLAYED], rows[_NUM_PLAYED:]
    parts = [f'<p class="muted">{words}</p>', trials_table(first, sounds)]
    if sounds:
        parts.append(note("The clips lie within this page, or are linked where they are large."))
    if others:
        parts.append(folded(f"{len(others)} more", trials_table(others, {})))
    return section(title, *parts)


def _provenance_facts(results: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [("command", results["command"]), ("date", results["created"])]
    if "model" in results:
        model = results["model"]
        pairs.append(("model", f"{model['folder']}, fingerprint {model['fingerprint']}"))
    pairs += [("list", f"{entry['path']}, sha256 {entry['sha256']}") for entry in results["lists"]]
    pairs.append(("versions", ", ".join(f"{k} {v}" for k, v in results["versions"].items())))
    return pairs
