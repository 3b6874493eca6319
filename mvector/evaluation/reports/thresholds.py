"""Which threshold, and how sure: a table for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mvector.evaluation.operating_points import PURPOSE_WORDS
from mvector.evaluation.reports.tables import Column, Table, decimals, make_table, percent

_COLUMNS: Sequence[Column] = (
    (
        "chosen that",
        lambda point: PURPOSE_WORDS[point["purpose"]] + (" *" if point["doubt"] else ""),
    ),
    ("same person from", lambda point: decimals(point["threshold"])),
    (
        "strangers accepted",
        lambda point: _with_count(point["fpr"], point["num_false_accepts"]),
    ),
    ("own person rejected", lambda point: _with_count(point["fnr"], point["num_misses"])),
)


def threshold_table(results: dict[str, Any]) -> Table:
    """The thresholds by purpose, the errors behind each, and what speaks against relying on it."""
    points = results["operating_points"]
    notes = [
        f"* '{PURPOSE_WORDS[point['purpose']]}' {point['doubt']}."
        for point in points
        if point["doubt"]
    ]
    check = (results.get("quality") or results)["held_out"]
    if check:
        notes.append(
            f"Checked on people who took no part: chosen on half of the speakers, the threshold "
            f"({check['threshold']:.4f}) accepted {check['num_false_accepts']:,} of "
            f"{check['num_nontarget']:,} pairs of strangers among the others, and rejected "
            f"{check['num_misses']:,} of {check['num_target']:,} pairs of one person."
        )
    if results["inconclusive_scores"]:
        low, high = results["inconclusive_scores"]
        notes.append(f"Verdicts cannot tell: a score from {low:.4f} to below {high:.4f}.")
    return make_table(f"Of {results['scored_by']} scores", _COLUMNS, points, notes)


def _with_count(rate: float | None, number: int | None) -> str:
    return percent(None) if number is None else f"{percent(rate)} ({number:,})"
