"""Training curves: a plain ``metrics.jsonl`` always, VisualDL and TensorBoard where wanted."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from mvector.errors import DataError, MissingDependencyError
from mvector.files import write_text

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


class _Board(Protocol):
    """What the writers of VisualDL and TensorBoard have in common."""

    def add_scalar(self, tag: str, value: float, step: int) -> None: ...
    def close(self) -> None: ...


class MetricLogger:
    """Writes named values against a step.

    ``metrics.jsonl`` has one JSON object a line: ``time`` (seconds since 1970), ``step`` and the
    values by name; a value that is not finite is ``null``.

    Args:
        log_dir: folder for ``metrics.jsonl`` and the records of VisualDL and TensorBoard.
        resume_step: continue the curves of an earlier part of the run, which is resumed behind this
            step: points beyond it, of a part that no checkpoint kept, are dropped and come again;
            what the step itself has stays, and is not taken again. VisualDL cannot drop what it
            has; there points beyond the step are drawn twice. ``None`` begins new curves.
        tensorboard: write records for TensorBoard too.

    Raises:
        DataError: the folder cannot be written to.
        MissingDependencyError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        resume_step: int | None = None,
        tensorboard: bool = False,
    ) -> None:
        folder = Path(log_dir)
        self._failed = False
        self._present: set[tuple[int, str]] = set()  # what the resumed step has already
        self._boards: list[_Board] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if tensorboard:
                self._boards.append(_open_tensorboard(folder, resume_step))
            if resume_step is not None:
                self._present = _drop_beyond(folder / METRICS, resume_step)
            mode = "w" if resume_step is None else "a"
            self._file = open(  # noqa: SIM115 - open for the whole run, closed by __exit__
                folder / METRICS, mode, encoding="utf-8", buffering=1
            )
        except OSError as error:
            raise DataError(
                f"Cannot write training curves to '{folder}' ({error.strerror or error}); "
                "choose another --log_dir."
            ) from error
        try:
            from visualdl import LogWriter

            self._boards.append(LogWriter(logdir=str(folder)))
        except ImportError:
            logger.info("VisualDL is not installed: curves go to %s.", self._file.name)

    def log(self, step: int, **values: float) -> None:
        """Record values, each a scalar, at a step counted from 0."""
        if self._present:
            values = {name: x for name, x in values.items() if (step, name) not in self._present}
        if self._failed or not values:
            return
        try:
            self._write(step, values)
        except OSError as error:  # a full disk must not end the run
            self._failed = True
            logger.warning("Training curves end here: %s.", error)

    def _write(self, step: int, values: dict[str, float]) -> None:
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        record = {"time": round(time.time(), 3), "step": step, **plain}
        self._file.write(json.dumps(record) + "\n")
        for board in self._boards:
            for name, value in values.items():
                board.add_scalar(name, value, step)

    def __enter__(self) -> MetricLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for close in (self._file.close, *(board.close for board in self._boards)):
            with suppress(OSError):
                close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The points of a ``metrics.jsonl``, in the order written.

    A line that is cut off, as a killed process or a full disk leaves it, is passed over.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    records = []
    for line in text.splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
    return records


def _drop_beyond(file: Path, last_step: int) -> set[tuple[int, str]]:
    """Keep the whole lines up to a step, and return what that step has.

    A kill meanwhile leaves the file as it was.
    """
    if not file.exists():
        return set()
    kept = [record for record in read_metrics(file) if record["step"] <= last_step]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    if text != file.read_text(encoding="utf-8", errors="replace"):
        write_text(file, text)
    return {(last_step, name) for record in kept if record["step"] == last_step for name in record}


def _open_tensorboard(folder: Path, resume_step: int | None) -> _Board:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "Curves for TensorBoard need its package: pip install tensorboard."
        ) from error
    purge_step = None if resume_step is None else resume_step + 1
    writer: _Board = SummaryWriter(str(folder), purge_step=purge_step)
    return writer
