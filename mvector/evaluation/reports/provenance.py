"""How a result came about, and the file it is kept in."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mvector.errors import EvaluationError
from mvector.files import file_sha256, read_errors_as, write_errors_as, write_text
from mvector.version import __version__

FORMAT_VERSION = 1

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "soundfile", "soxr")


def provenance(lists: Sequence[str | os.PathLike[str]], command: str) -> dict[str, Any]:
    """When, how and on which lists a result was computed, so that it can be computed again.

    Args:
        lists: files that say what was compared.
        command: that was given.

    Raises:
        EvaluationError: a list cannot be read.
    """
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "versions": {
            "mvector": __version__,
            "python": platform.python_version(),
            **{package: _version(package) for package in _PACKAGES},
        },
        "lists": [{"path": os.fspath(path), "sha256": _sha256(path)} for path in lists],
    }


def write_json(results: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write results into a file, which appears whole or not at all.

    Raises:
        EvaluationError: the file cannot be written.
    """
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with write_errors_as(EvaluationError, f"'{path}'", "choose another --out"):
        write_text(Path(path), text)


def _sha256(path: str | os.PathLike[str]) -> str:
    with read_errors_as(EvaluationError, f"The list '{path}'"):
        return file_sha256(path)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
