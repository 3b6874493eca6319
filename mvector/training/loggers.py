"""Training curves: a plain ``metrics.jsonl`` always, VisualDL where it is installed."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mvector.errors import DataError

logger = logging.getLogger(__name__)


class MetricLogger:
    """Writes named values against a step.

    Args:
        log_dir: folder for ``metrics.jsonl`` and VisualDL's records.
        append: continue the file of an earlier part of the run.

    Raises:
        DataError: the folder cannot be written to.
    """

    def __init__(self, log_dir: str | os.PathLike[str], *, append: bool = False) -> None:
        folder = Path(log_dir)
        self._failed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(  # noqa: SIM115 - open for the whole run, closed by __exit__
                folder / "metrics.jsonl", "a" if append else "w", encoding="utf-8", buffering=1
            )
        except OSError as error:
            raise DataError(
                f"Cannot write training curves to '{folder}' ({error.strerror}); "
                "choose another --log_dir."
            ) from error
        try:
            from visualdl import LogWriter

            self._visual = LogWriter(logdir=str(folder))
        except ImportError:
            logger.info("VisualDL is not installed: curves go to %s only.", self._file.name)
            self._visual = None

    def log(self, step: int, **values: float) -> None:
        """Record values, each a scalar, at a step counted from 0."""
        if self._failed:
            return
        try:
            self._write(step, values)
        except OSError as error:  # a full disk must not end the run
            self._failed = True
            logger.warning("Training curves end here: %s.", error)

    def _write(self, step: int, values: dict[str, float]) -> None:
        record = {"time": round(time.time(), 3), "step": step, **values}
        self._file.write(json.dumps(record) + "\n")
        if self._visual is not None:
            for name, value in values.items():
                self._visual.add_scalar(tag=name, step=step, value=value)

    def __enter__(self) -> MetricLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._file.close()
        if self._visual is not None:
            with suppress(OSError):
                self._visual.close()
