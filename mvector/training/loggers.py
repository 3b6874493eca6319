"""Training curves: a plain ``metrics.jsonl`` always, VisualDL and TensorBoard where wanted."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from mvector.errors import DataError, import_errors_as
from mvector.files import write_atomically, write_errors_as, write_text

logger = logging.getLogger(__name__)

METRICS, CURVES = "metrics.jsonl", "curves.png"
_BOARD_FILES = ("vdlrecords.*", "events.out.tfevents.*")
# Left and right axis of each part of the picture: label, curve, colour (Okabe & Ito's palette).
_LEFT, _RIGHT = "#0072B2", "#D55E00"
_PANELS = (
    (("loss", "train/loss"), ("accuracy", "train/accuracy")),
    (("loss of the labels", "train/label_loss"), ("of the teacher", "train/teacher_loss")),
    (("learning rate", "train/learning_rate"), ("margin", "train/margin")),
    (("EER", "eval/eer"), ("minDCF", "eval/min_dcf")),
)


class _Board(Protocol):
    """What the writers of VisualDL and TensorBoard have in common."""

    def add_scalar(self, tag: str, value: float, step: int, walltime: int) -> None: ...
    def close(self) -> None: ...


class MetricLogger:
    """Writes named values against a step.

    ``metrics.jsonl`` has one JSON object a line: ``time`` (seconds since 1970), ``step`` and the
    values by name; a value that is not finite is ``null``. The records of VisualDL and TensorBoard
    are made from it: where a run goes on, they are written anew and show the whole run.

    Args:
        file: the ``metrics.jsonl`` of the run.
        board_folder: for the records of VisualDL and TensorBoard, of this run alone; made if there
            are any to write.
        resume_step: continue the curves of an earlier part of the run, which is resumed behind this
            step: points beyond it, of a part that no checkpoint kept, are dropped and come again;
            what the step itself has stays, and is not taken again. ``None`` begins new curves; an
            earlier file keeps its points as ``metrics.1.jsonl`` or a higher number.
        tensorboard: write records for TensorBoard too.

    Raises:
        DataError: a folder cannot be written to.
        MissingDependencyError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        board_folder: str | os.PathLike[str],
        *,
        resume_step: int | None = None,
        tensorboard: bool = False,
    ) -> None:
        self._path = Path(file)
        self._failed = False
        earlier: list[dict[str, Any]] = []
        writers = _board_writers(tensorboard)
        what, cure = f"training curves to '{self._path}'", "choose another --save_model_path"
        with write_errors_as(DataError, what, cure):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if resume_step is None:
                _rename_earlier(self._path)
            else:
                earlier = _truncate_after(self._path, resume_step)
            self._file = open(  # noqa: SIM115 - open for the whole run, closed by __exit__
                self._path, "a", encoding="utf-8", buffering=1
            )
        # what the resumed step has already
        self._present = {
            (p["step"], name) for p in earlier if p["step"] == resume_step for name in p
        }
        what, cure = f"training curves to '{board_folder}'", "choose another --log_dir"
        try:
            with write_errors_as(DataError, what, cure):
                self._boards = _open_boards(Path(board_folder), writers)
        except DataError:
            self._file.close()
            raise
        for point in earlier:
            self._add_to_boards(point)

    def log(self, step: int, **values: float) -> None:
        """Record values, each a scalar, at a step counted from 0."""
        values = {name: x for name, x in values.items() if (step, name) not in self._present}
        if self._failed or not values:
            return
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            self._write({"time": round(time.time(), 3), "step": step, **plain})
        except OSError as error:  # a full disk must not end the run
            self._failed = True
            logger.warning("Training curves end here: %s.", error)

    def _write(self, point: dict[str, Any]) -> None:
        self._file.write(json.dumps(point) + "\n")
        self._add_to_boards(point)

    def _add_to_boards(self, point: dict[str, Any]) -> None:
        """Give a point of the file to the boards."""
        values = {name: value for name, value in point.items() if name not in ("time", "step")}
        try:
            for board, ticks in self._boards:
                walltime = int((point.get("time") or 0) * ticks)
                for name, value in values.items():
                    number = math.nan if value is None else value
                    board.add_scalar(name, number, point["step"], walltime=walltime)
        except OSError as error:
            logger.warning("VisualDL and TensorBoard show no more than this: %s.", error)
            self._boards = []

    def __enter__(self) -> MetricLogger:
        return self

    def __exit__(self, *exception: object) -> None:
        for close in (self._file.close, *(board.close for board, _ in self._boards)):
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


def copy_metrics(source: Path, target: Path) -> None:
    """Let a run go on in another folder with the points that it has.

    Raises:
        DataError: the folder cannot be written to.
    """
    with write_errors_as(DataError, f"'{target}'"):
        _rename_earlier(target)
        if source.exists():
            shutil.copyfile(source, target)


def _rename_earlier(file: Path) -> None:
    """Keep an earlier file, unless it is empty, under the first free number."""
    if not file.exists() or not file.stat().st_size:
        return
    number = 1
    while (kept := file.with_name(f"{file.stem}.{number}{file.suffix}")).exists():
        number += 1
    os.rename(file, kept)


def _truncate_after(file: Path, last_step: int) -> list[dict[str, Any]]:
    """Keep the whole lines up to a step, and return them.

    A kill meanwhile leaves the file as it was.
    """
    if not file.exists():
        return []
    kept = [record for record in read_metrics(file) if record["step"] <= last_step]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    if text != file.read_text(encoding="utf-8", errors="replace"):
        write_text(file, text)
    return kept


_BoardWriters = list[tuple[Callable[[str], _Board], int]]


def _board_writers(tensorboard: bool) -> _BoardWriters:
    """Opens the records of a folder, and in how many parts of a second their time counts."""
    writers: _BoardWriters = []
    if tensorboard:
        with import_errors_as("Curves for TensorBoard need its package: pip install tensorboard."):
            from torch.utils.tensorboard import SummaryWriter
        writers.append((SummaryWriter, 1))
    try:
        from visualdl import LogWriter

        writers.append((LogWriter, 1000))
    except ImportError:
        logger.info("VisualDL is not installed: curves go to %s.", METRICS)
    return writers


def _open_boards(folder: Path, writers: _BoardWriters) -> list[tuple[_Board, int]]:
    """New records in place of earlier ones."""
    if writers:
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in _BOARD_FILES:
            for outdated in folder.glob(pattern):
                outdated.unlink()
    return [(open_board(str(folder)), ticks) for open_board, ticks in writers]


def draw_curves(metrics: str | os.PathLike[str], picture: str | os.PathLike[str]) -> bool:
    """Draw loss, its parts, accuracy, learning rate, margin, EER and minDCF against the step.

    Args:
        metrics: the ``metrics.jsonl`` of the run.
        picture: PNG file to write, in one step.

    Returns:
        Whether it was drawn; if not, one log line says why.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("No picture of the curves without matplotlib: pip install matplotlib.")
        return False
    try:
        points = read_metrics(metrics)
        panels = [panel for panel in _PANELS if any(_curve(points, tag)[0] for _, tag in panel)]
        if not panels:
            logger.info("No picture of the curves: '%s' has no points.", metrics)
            return False
        figure = Figure(figsize=(10.0, 3.2 * len(panels)), layout="constrained")
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            _draw_panel(axes, panel, points)
        rows[-1].set_xlabel("step")
        write_atomically(Path(picture), lambda file: figure.savefig(file, format="png", dpi=120))
    except OSError as error:
        logger.warning("No picture of the curves: %s.", error)
        return False
    return True


def _draw_panel(axes: Any, panel: Any, points: list[dict[str, Any]]) -> None:
    lines = []
    for place, colour, (label, tag) in zip(
        (axes, axes.twinx()), (_LEFT, _RIGHT), panel, strict=True
    ):
        steps, values = _curve(points, tag)
        if not steps:
            place.set_visible(False)
            continue
        if tag == "eval/eer":
            label, values = "EER (%)", [100.0 * value for value in values]
        style = {"marker": "o", "markersize": 3} if tag.startswith("eval/") else {}
        name = f"{label}, lowest {min(values):.4g}" if style else label
        lines += place.plot(steps, values, color=colour, linewidth=1.4, label=name, **style)
        place.set_ylabel(label, color=colour)
        place.tick_params(axis="y", labelcolor=colour)
        place.spines["top"].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(
        handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False
    )


def _curve(points: list[dict[str, Any]], tag: str) -> tuple[list[int], list[float]]:
    found = [(point["step"], point[tag]) for point in points if point.get(tag) is not None]
    return [step for step, _ in found], [value for _, value in found]
