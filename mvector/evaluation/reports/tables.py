"""Results as tables of text, for the terminal and for the page alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_AT_FAR = {"far_1pct": 0.01, "far_0_1pct": 0.001, "far_0_01pct": 0.0001}
_NONE = "-"


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


def result_tables(results: dict[str, Any]) -> list[Table]:
    """The table of all figures, then one for each breakdown.

    Args:
        results: of :func:`mvector.evaluation.reports.results.build_results`, with or without
            ``breakdowns``.
    """
    return [_figures(results), *map(_breakdown, results.get("breakdowns", ()))]


def rates_table(results: dict[str, Any]) -> Table:
    """One error rate at given values of the other.

    Args:
        results: as for :func:`result_tables`.
    """

    def cells(point: dict[str, Any] | None, rate: str) -> tuple[str, str]:
        return (percent(point[rate]), f"{point['threshold']:.4f}") if point else (_NONE, _NONE)

    return Table(
        "Rates at most of the first column, and what the other rate then is",
        ("at most", "FRR at this FAR", "threshold", "FAR at this FRR", "threshold"),
        [
            (f"{100 * row['rate']:g} %", *cells(row["at_far"], "fnr"), *cells(row["at_frr"], "fpr"))
            for row in results["rates"]
        ],
    )


def comparison_tables(comparison: dict[str, Any]) -> list[Table]:
    """Figures of each system, and how they differ.

    Args:
        comparison: of :func:`mvector.evaluation.reports.comparison.compare_scores`.
    """
    systems, differences = comparison["systems"], comparison["differences"]
    costs = [f"minDCF, p {cost:g}" for cost in comparison["p_targets"]]
    figures = Table(
        "Systems",
        ("system", "EER", *costs),
        [
            (system["name"], percent(system["eer"]), *map(_cost, system["min_dcf"]))
            for system in systems
        ],
    )
    rows = []
    for one in differences:
        named = [("EER", one["eer"], _signed_percent)]
        named += [
            (cost, dcf, _signed_cost) for cost, dcf in zip(costs, one["min_dcf"], strict=True)
        ]
        rows += [
            (
                f"{one['name']} - {one['baseline']}",
                *(figure, shown(value["value"]), _range(value, shown), _VERDICTS[_sign(value)]),
            )
            for figure, value, shown in named
        ]
    bootstrap = comparison["bootstrap"]
    note = (
        f"Intervals: {bootstrap['num_replicates']:,} draws of {bootstrap['num_speakers']:,} "
        "speakers, the same for both systems. One without 0 tells the systems apart."
    )
    title = "Differences (below 0: the first system is better)"
    header = (
        "difference",
        "figure",
        "value",
        f"{100 * bootstrap['confidence']:g} % interval",
        "verdict",
    )
    return [figures, Table(title, header, rows, (note,))]


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
        return _NONE
    return f"{100.0 * rate:.2f} %" if rate >= 1e-3 or rate == 0 else f"{100.0 * rate:.2g} %"


def _figures(results: dict[str, Any]) -> Table:
    rows = [_row("EER", results["eer"], percent)]
    for cost in results["detection_costs"]:
        name = f"minDCF, p {cost['p_target']:g}"
        name += f", a miss costs {cost['c_miss']:g}" if cost["c_miss"] != 1.0 else ""
        rows.append(_row(f"{name} ({_short(cost['evaluations'])})", cost, _cost))
    rows += [
        _row(f"minDCF, {evaluation['name']} (mean of both)", evaluation, _cost)
        for evaluation in results["evaluations"]
        if evaluation["num_costs"] > 1
    ]
    doubts = {point["purpose"]: point["doubt"] for point in results["operating_points"]}
    points = {row["rate"]: row["at_far"] for row in results["rates"]}
    notes = []
    for purpose, rate in _AT_FAR.items():
        name = f"FRR at FAR {100 * rate:g} %"
        if doubts[purpose]:
            notes.append(f"* FAR {100 * rate:g} % {doubts[purpose]}.")
            name += " *"
        point = points[rate] or {}
        rows.append(_row(name, {**point, "value": point.get("fnr")}, percent))
    rows.append(_row("best accuracy", results["best_accuracy"], percent))
    rows.append(_row("area under the ROC curve", {"value": results["area_under_roc"]}, _share))
    rows += _calibration_rows(results)
    confidence = results["bootstrap"].get("confidence")
    return Table(
        f"{results['num_target']:,} target and {results['num_nontarget']:,} non-target trials of "
        f"{results['num_speakers']:,} speakers",
        (
            *("", "value", f"{100 * confidence:g} % interval" if confidence else "interval"),
            *("actual", "threshold", "misses + false acc."),
        ),
        rows,
        (*notes, *_notes(results)),
    )


def _row(name: str, figure: dict[str, Any], shown: Callable[[float | None], str]) -> Sequence[str]:
    threshold, num_misses = figure.get("threshold"), figure.get("num_misses")
    return (
        name,
        shown(figure["value"]),
        _range(figure, shown),
        "" if figure.get("actual_dcf") is None else _cost(figure["actual_dcf"]),
        "" if threshold is None else f"{threshold:.4f}",
        "" if num_misses is None else f"{num_misses:,} + {figure['num_false_accepts']:,}",
    )


def _calibration_rows(results: dict[str, Any]) -> list[Sequence[str]]:
    rows = [
        _row("Cllr in bits, calibrated on these trials", results["cllr"], _cost),
        _row("  minCllr", {"value": results["cllr"]["min"]}, _cost),
    ]
    check = results["held_out"]
    if check:
        rows += [
            _row("Cllr, calibrated on other speakers", {"value": check["cllr"]}, _cost),
            _row("  minCllr", {"value": check["min_cllr"]}, _cost),
            _row(
                f"  minDCF, p {check['p_target']:g}",
                {**check, "value": check["min_dcf"], "threshold": None, "num_misses": None},
                _cost,
            ),
        ]
    quality = results["quality"]
    if quality:
        rows.append(_row("Cllr, knowing the quality of clips", {"value": quality["cllr"]}, _cost))
        if quality["held_out"]:
            cllr = {"value": quality["held_out"]["cllr"]}
            rows.append(_row("  the same, calibrated on other speakers", cllr, _cost))
    before = results["earlier_calibration"]
    if before:
        rows.append(
            _row("Cllr, the model's calibration so far", {**before, "value": before["cllr"]}, _cost)
        )
    return rows


def _notes(results: dict[str, Any]) -> list[str]:
    notes = [f"Scores: {results['scored_by']}."]
    notes += ["Actual: the cost of deciding by the calibrated log-likelihood ratio."]
    calibration, bootstrap = results["calibration"], results["bootstrap"]
    low, high = calibration["inconclusive_low"], calibration["inconclusive_high"]
    if low is not None:
        notes.append(
            f"Inconclusive: a score between {low:.4f} and {high:.4f} makes neither answer ten "
            "times as likely as the other."
        )
    if bootstrap.get("num_replicates"):
        notes.append(
            f"Intervals: {bootstrap['num_replicates']:,} draws of the "
            f"{bootstrap['num_speakers']:,} speakers."
        )
    else:
        notes.append(f"No intervals: {bootstrap['why_none'].rstrip('.')}.")
    if results["held_out"] is None:
        notes.append(
            "Actual costs and Cllr are of a calibration on these very trials, and flatter it."
        )
    return notes


def _breakdown(found: dict[str, Any]) -> Table:
    rows = [
        (
            group["value"],
            f"{group['num_target']:,}",
            f"{group['num_nontarget']:,}",
            percent(group["eer"]),
            _cost(group["min_dcf"]),
            percent(group["fnr"]),
            percent(group["fpr"]),
        )
        for group in found["groups"]
    ]
    notes = [
        f"{found['explanation']} FRR and FAR at {found['threshold']:.4f}, the threshold at the EER "
        "of all trials."
    ]
    if found["num_clips_unknown"]:
        notes.append(
            f"Not known of {found['num_clips_unknown']:,} of {found['num_clips']:,} clips: "
            f"{found['num_trials_unknown']:,} trials are in no group."
        )
    header = ("", "targets", "non-targets", "EER", "minDCF, p 0.01", "FRR", "FAR")
    return Table(f"By {found['by']}", header, rows, notes)


def _range(value: dict[str, Any], shown: Callable[[float], str]) -> str:
    if value.get("low") is None:
        return ""
    return f"{shown(value['low'])} to {shown(value['high'])}"


def _short(evaluations: Sequence[str]) -> str:
    return ", ".join(name.removeprefix("NIST ") for name in evaluations)


def _cost(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.5f}"


def _signed_percent(value: float) -> str:
    return f"{100.0 * value:+.2f} %"


def _signed_cost(value: float) -> str:
    return f"{value:+.4f}"


_VERDICTS = {-1: "better", 0: "not told apart", 1: "worse"}


def _sign(interval: dict[str, float]) -> int:
    return (interval["low"] > 0) - (interval["high"] < 0)


def _width(text: str) -> int:
    """Columns of a terminal that a text takes; Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
