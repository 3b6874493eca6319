"""Which threshold, and how sure: a table for the page."""

from __future__ import annotations

from typing import Any

from mvector.evaluation.operating_points import PURPOSE_WORDS
from mvector.evaluation.reports.tables import Table, percent


def threshold_table(results: dict[str, Any]) -> Table:
    """The thresholds by purpose, the errors behind each, and what speaks against relying on it.

    Args:
        results: of :func:`mvector.evaluation.reports.results.build_results`.
    """
    rows, notes = [], []
    for point in results["operating_points"]:
        words, is_set = PURPOSE_WORDS[point["purpose"]], point["threshold"] is not None
        if point["doubt"]:
            notes.append(f"* '{words}' {point['doubt']}.")
            words += " *"
        counted = [
            f"{percent(point[rate])} ({point[number]:,})" if point[number] is not None else "-"
            for rate, number in (("fpr", "num_false_accepts"), ("fnr", "num_misses"))
        ]
        rows.append((words, f"{point['threshold']:.4f}" if is_set else "-", *counted))
    check = (results.get("quality") or results)["held_out"]
    if check:
        notes.append(
            f"Checked on people who took no part: chosen on half of the speakers, the threshold "
            f"({check['threshold']:.4f}) accepted {check['num_false_accepts']:,} of "
            f"{check['num_nontarget']:,} pairs of strangers among the others, and rejected "
            f"{check['num_misses']:,} of {check['num_target']:,} pairs of one person."
        )
    calibration = results["calibration"]
    low, high = calibration["inconclusive_low"], calibration["inconclusive_high"]
    if low is not None:
        notes.append(
            f"Inconclusive: between {low:.4f} and {high:.4f} neither answer is ten times as likely "
            "as the other."
        )
    header = ("chosen that", "same person from", "strangers accepted", "own person rejected")
    return Table(f"Of {results['scored_by']} scores", header, rows, notes)
