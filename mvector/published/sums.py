"""Sums of what was downloaded, for files whose sum nobody publishes: the first one is trusted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mvector.files import write_text

_SEEN = "seen.json"


@dataclass(frozen=True)
class Seen:
    """The sum of a file when it was downloaded for the first time, and where from."""

    sha256: str
    origin: str


def seen_before(folder: Path, file: str) -> Seen | None:
    """What is written down of a file in the folder of a model's downloads, if anything."""
    try:
        return Seen(**_all_seen(folder)[file])
    except (KeyError, TypeError):
        return None


def remember(folder: Path, file: str, seen: Seen) -> None:
    """Write it down, in place of what was there.

    Raises:
        OSError: it cannot be written.
    """
    known = {**_all_seen(folder), file: asdict(seen)}
    write_text(folder / _SEEN, json.dumps(known, indent=1) + "\n")


def _all_seen(folder: Path) -> dict[str, Any]:
    try:
        known = json.loads((folder / _SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
