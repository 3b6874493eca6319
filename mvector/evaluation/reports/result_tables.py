"""The tables of an evaluation and of a comparison: what each column and row shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mvector.evaluation.operating_points import PURPOSES
from mvector.evaluation.reports.tables import (
    Column,
    Table,
    decimals,
    interval_text,
    make_table,
    percent,
)


class _Row(NamedTuple):
    """A row of figures: its name, its values, and how these are written."""

    name: str
    values: dict[str, Any]
    shown: Callable[[float], str]


def _figure_columns(results: dict[str, Any]) -> Sequence[Column]:
    """The columns of the table of all figures; a row has what is measured of it in ``values``."""
    return (
        ("", lambda row: row.name),
        ("value", lambda row: row.shown(row.values["value"])),
        (_interval_header(results["bootstrap"]), lambda r: interval_text(r.values, r.shown)),
        ("actual", lambda row: decimals(row.values.get("actual_dcf"), "")),
        ("threshold", lambda row: decimals(row.values.get("threshold"), "")),
        ("misses + false acc.", lambda row: _error_counts(row.values)),
    )


# The columns of a breakdown, of the figures that `breakdown.break_down` measures of a group.
_BREAKDOWN_COLUMNS: Sequence[Column] = (
    ("", lambda group: group["value"]),
    ("targets", lambda group: f"{group['num_target']:,}"),
    ("non-targets", lambda group: f"{group['num_nontarget']:,}"),
    ("EER", lambda group: percent(group["eer"])),
    ("minDCF, p 0.01", lambda group: decimals(group["min_dcf"])),
    ("FRR", lambda group: percent(group["fnr"])),
    ("FAR", lambda group: percent(group["fpr"])),
)


def result_tables(results: dict[str, Any]) -> list[Table]:
    """The table of all figures, then one for each breakdown, of what ``results.json`` holds."""
    return [_figures(results), *map(_breakdown, results.get("breakdowns", ()))]


def rates_table(results: dict[str, Any]) -> Table:
    """One error rate at given values of the other; ``results`` as for :func:`result_tables`."""
    unknown = {"fnr": None, "fpr": None, "threshold": None}
    columns: Sequence[Column] = (
        ("at most", lambda row: f"{100 * row['rate']:g} %"),
        ("FRR at this FAR", lambda row: percent((row["at_far"] or unknown)["fnr"])),
        ("threshold", lambda row: decimals((row["at_far"] or unknown)["threshold"])),
        ("FAR at this FRR", lambda row: percent((row["at_frr"] or unknown)["fpr"])),
        ("threshold", lambda row: decimals((row["at_frr"] or unknown)["threshold"])),
    )
    title = "Rates at most of the first column, and what the other rate then is"
    return make_table(title, columns, results["rates"])


def comparison_tables(comparison: dict[str, Any]) -> list[Table]:
    """Figures of each system and how they differ, of what ``compare_scores`` gives."""
    systems, differences = comparison["systems"], comparison["differences"]
    costs = [f"minDCF, p {cost:g}" for cost in comparison["p_targets"]]
    figures = Table(
        "Systems",
        ("system", "EER", *costs),
        [
            (system["name"], percent(system["eer"]), *map(decimals, system["min_dcf"]))
            for system in systems
        ],
    )
    bootstrap = comparison["bootstrap"]
    columns: Sequence[Column] = (
        ("difference", lambda row: row.name),
        ("figure", lambda row: row.values["figure"]),
        ("value", lambda row: row.shown(row.values["value"])),
        (_interval_header(bootstrap), lambda row: interval_text(row.values, row.shown)),
        ("verdict", lambda row: _which_is_better(row.values)),
    )
    rows = []
    for one in differences:
        name = f"{one['name']} - {one['baseline']}"
        rows.append(_Row(name, {**one["eer"], "figure": "EER"}, lambda x: f"{100.0 * x:+.2f} %"))
        for cost, dcf in zip(costs, one["min_dcf"], strict=True):
            rows.append(_Row(name, {**dcf, "figure": cost}, lambda x: f"{x:+.4f}"))
    if "why_none" in bootstrap:
        note = f"No intervals: {bootstrap['why_none']}"
    else:
        note = (
            f"Intervals: {bootstrap['num_replicates']:,} draws of {bootstrap['num_speakers']:,} "
            "speakers, the same for both systems. One without 0 tells the systems apart."
        )
    title = "Differences (below 0: the first system is better)"
    return [figures, make_table(title, columns, rows, (note,))]


def _interval_header(bootstrap: dict[str, Any]) -> str:
    confidence = bootstrap.get("confidence")
    return f"{100 * confidence:g} % interval" if confidence else "interval"


def _figures(results: dict[str, Any]) -> Table:
    rows = [_Row("EER", results["eer"], percent)]
    for cost in results["detection_costs"]:
        name = f"minDCF, p {cost['p_target']:g}"
        name += f", a miss costs {cost['c_miss']:g}" if cost["c_miss"] != 1.0 else ""
        rows.append(_Row(f"{name} ({_short_names(cost['evaluations'])})", cost, decimals))
    rows += [
        _Row(f"minDCF, {evaluation['name']} (mean of both)", evaluation, decimals)
        for evaluation in results["evaluations"]
        if evaluation["num_costs"] > 1
    ]
    doubts = {point["purpose"]: point["doubt"] for point in results["operating_points"]}
    points = {row["rate"]: row["at_far"] for row in results["rates"]}
    notes = []
    for purpose, rate in PURPOSES.items():
        if rate is None:
            continue
        name = f"FRR at FAR {100 * rate:g} %"
        if doubts[purpose]:
            notes.append(f"* FAR {100 * rate:g} % {doubts[purpose]}.")
            name += " *"
        point = points[rate] or {}
        rows.append(_Row(name, {**point, "value": point.get("fnr")}, percent))
    rows.append(_Row("best accuracy", results["best_accuracy"], percent))
    area = {"value": results["area_under_roc"]}
    rows.append(_Row("area under the ROC curve", area, lambda share: f"{share:.5f}"))
    rows += _calibration_rows(results)
    title = (
        f"{results['num_target']:,} target and {results['num_nontarget']:,} non-target trials of "
        f"{results['num_speakers']:,} speakers"
    )
    return make_table(title, _figure_columns(results), rows, (*notes, *_notes(results)))


def _calibration_rows(results: dict[str, Any]) -> list[_Row]:
    rows = [
        _Row("Cllr in bits, calibrated on these trials", results["cllr"], decimals),
        _Row("  minCllr", {"value": results["cllr"]["min"]}, decimals),
    ]
    check = results["held_out"]
    if check:
        rows += [
            _Row("Cllr, calibrated on other speakers", {"value": check["cllr"]}, decimals),
            _Row("  minCllr", {"value": check["min_cllr"]}, decimals),
            _Row(
                f"  minDCF, p {check['p_target']:g}",
                {"value": check["min_dcf"], "actual_dcf": check["actual_dcf"]},
                decimals,
            ),
        ]
    quality = results["quality"]
    if quality:
        rows.append(
            _Row("Cllr, knowing the quality of clips", {"value": quality["cllr"]}, decimals)
        )
        if quality["held_out"]:
            cllr = {"value": quality["held_out"]["cllr"]}
            rows.append(_Row("  the same, calibrated on other speakers", cllr, decimals))
    before = results["earlier_calibration"]
    if before:
        values = {**before, "value": before["cllr"]}
        rows.append(_Row("Cllr, the model's calibration so far", values, decimals))
    return rows


def _notes(results: dict[str, Any]) -> list[str]:
    notes = [f"Scores: {results['scored_by']}."]
    notes += ["Actual: the cost of deciding by the calibrated log-likelihood ratio."]
    bootstrap = results["bootstrap"]
    if results["inconclusive_scores"]:
        low, high = results["inconclusive_scores"]
        notes.append(f"Verdicts cannot tell: a score from {low:.4f} to below {high:.4f}.")
    notes.append(f"Speakers: {results['speakers_from']}.")
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
    notes = [
        f"{found['explanation']} FRR and FAR at {found['threshold']:.4f}, the threshold at the EER "
        "of all trials."
    ]
    if found["num_clips_unknown"]:
        notes.append(
            f"Not known of {found['num_clips_unknown']:,} of {found['num_clips']:,} clips: "
            f"{found['num_trials_unknown']:,} trials are in no group."
        )
    return make_table(f"By {found['by']}", _BREAKDOWN_COLUMNS, found["groups"], notes)


def _short_names(evaluations: Sequence[str]) -> str:
    return ", ".join(name.removeprefix("NIST ") for name in evaluations)


def _error_counts(figure: dict[str, Any]) -> str:
    if figure.get("num_misses") is None:
        return ""
    return f"{figure['num_misses']:,} + {figure['num_false_accepts']:,}"


def _which_is_better(difference: dict[str, float | None]) -> str:
    if difference["low"] is None or difference["high"] is None:
        return "not told apart"
    if difference["low"] > 0:
        return "worse"
    return "better" if difference["high"] < 0 else "not told apart"
