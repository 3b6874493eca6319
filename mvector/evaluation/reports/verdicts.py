"""How often verdicts are wrong, or that it cannot be told, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mvector.evaluation.reports.tables import Column, Table, make_table, percent

_KINDS = {
    "target": "one speaker, told to be two (FRR)",
    "nontarget": "two speakers, told to be one (FAR)",
}
_COLUMNS: Sequence[Column] = (
    ("trials of", lambda of_kind: of_kind["name"]),
    ("wrong", lambda of_kind: percent(of_kind["error_rate"])),
    ("", lambda of_kind: f"{of_kind['num_errors']:,} of {of_kind['num_trials']:,}"),
    ("cannot tell", lambda of_kind: percent(of_kind["inconclusive_share"])),
    ("", lambda of_kind: f"{of_kind['num_inconclusive']:,} of {of_kind['num_trials']:,}"),
    ("wrong if told", lambda of_kind: percent(of_kind["conclusive_error_rate"])),
)


def verdict_tables(results: dict[str, Any]) -> list[Table]:
    """The table of the verdicts, if they were measured.

    Args:
        results: with what :meth:`mvector.recognition.verdict_rates.VerdictRates.to_dict` gives as
            ``verdict``, or ``None`` there.
    """
    found = results.get("verdict")
    if not found:
        return []
    notes = (
        f"Cannot tell: {percent(found['inconclusive_share'])} of all trials.",
        f"Purpose: {found['purpose']}. Threshold: {found['threshold_source']}. The model's own "
        f"calibration decides ({found['calibrated_on']}), and stays as it is.",
    )
    rows = [{**found[kind], "name": name} for kind, name in _KINDS.items()]
    return [make_table("Verdicts of infer_contrast.py on these trials", _COLUMNS, rows, notes)]
