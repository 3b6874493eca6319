"""How often verdicts are wrong or inconclusive, as a table."""

from __future__ import annotations

from typing import Any

from mvector.evaluation.reports.tables import Table, percent

_KINDS = {"target": "one speaker, rejected (FRR)", "nontarget": "two speakers, accepted (FAR)"}


def verdict_tables(results: dict[str, Any]) -> list[Table]:
    """The table of the verdicts, if they were measured.

    Args:
        results: with what :meth:`mvector.recognition.verdict_rates.VerdictRates.to_dict` gives as
            ``verdict``, or ``None`` there.
    """
    found = results.get("verdict")
    if not found:
        return []
    rows = []
    for kind, name in _KINDS.items():
        counts = found[kind]
        num_conclusive = counts["num_trials"] - counts["num_inconclusive"]
        rows.append(
            (
                name,
                percent(counts["error_rate"]),
                f"{counts['num_errors']:,} of {counts['num_trials']:,}",
                percent(counts["inconclusive_share"]),
                percent(counts["conclusive_error_rate"]),
                f"{counts['num_conclusive_errors']:,} of {num_conclusive:,}",
            )
        )
    return [
        Table(
            "Verdicts of infer_contrast.py on these trials",
            ("trials of", "wrong", "", "inconclusive", "wrong if conclusive", ""),
            rows,
            (
                f"Inconclusive: {percent(found['inconclusive_share'])} of all trials.",
                f"Threshold: {found['threshold_source']}. The model's own calibration decides "
                f"({found['calibrated_on']}), and stays as it is.",
            ),
        )
    ]
