"""Errors of recordings as a table for people, and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mvector.diarization.error_rate import DiarizationErrors
from mvector.evaluation.reports.tables import Column, Table, make_table, percent

_HEADERS = {  # of the rates, by their attributes
    "error_rate": "DER",
    "miss_rate": "missed",
    "false_alarm_rate": "false alarm",
    "confusion_rate": "confusion",
    "jaccard_error_rate": "JER",
    "purity": "purity",
    "coverage": "coverage",
    "named_error_rate": "named error",
    "named_strangers_rate": "strangers named",
}
_OF_NAMES = ("named_error_rate", "named_strangers_rate")


def errors_to_dict(errors: DiarizationErrors) -> dict[str, Any]:
    """Rates, ``None`` where there is no time to divide by, then times in seconds and counts."""
    return {
        **{name: getattr(errors, name) for name in _HEADERS},
        **dataclasses.asdict(errors),
    }


def error_table(
    errors_of: Mapping[str, DiarizationErrors], total: DiarizationErrors, title: str
) -> Table:
    """A row for each recording and one for all; columns of names where it is told who has one."""
    has_names = total.enrolled_s + total.strangers_s > 0
    columns: list[Column] = [
        ("recording", lambda row: row[0]),
        ("speech", lambda row: f"{row[1].speech_s:.1f} s"),
        *(
            (header, lambda row, name=name: percent(getattr(row[1], name)))
            for name, header in _HEADERS.items()
            if has_names or name not in _OF_NAMES
        ),
        ("people", lambda row: f"{row[1].num_people}"),
        ("found", lambda row: f"{row[1].num_found}"),
    ]
    note = (
        f"Number of people right in {total.num_counts_right:,} of {total.num_recordings:,} "
        "recordings."
    )
    rows = [*errors_of.items(), ("in all", total)]
    return make_table(title, columns, rows if len(errors_of) > 1 else rows[:1], [note])
