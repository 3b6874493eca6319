"""The pictures of a report, as files and as bytes for the page."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.errors import EvaluationError, import_errors_as
from mvector.evaluation.metrics import DetCurve
from mvector.evaluation.plots import det_figure, histogram_figure, rates_figure
from mvector.files import check_writable, write_bytes, write_errors_as

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 150

#: The picture of the rates that the table of rates tells in numbers.
ERROR_RATES = "error_rates"


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        name: of its file, without suffix.
        description: what it shows, for those who do not see it.
        png: the file's content.
    """

    name: str
    description: str
    png: bytes


def check_report_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that a report cannot be written to, before hours of work and not after.

    Raises:
        EvaluationError: it cannot be written to.
        MissingDependencyError: matplotlib is not installed.
    """
    with import_errors_as(
        "--report draws pictures, which needs matplotlib: pip install matplotlib."
    ):
        import matplotlib.figure  # noqa: F401
    with _report_errors(folder):
        check_writable(Path(folder))


def result_pictures(curve: DetCurve, score_type: str) -> list[Picture]:
    """DET curve, score histograms and error rates over the threshold; needs matplotlib."""
    return [
        _render("det", "DET curve with the operating points", det_figure({"": curve})),
        _render(
            "scores",
            "Histograms of the scores of target and non-target trials",
            histogram_figure(curve, score_type),
        ),
        _render(
            ERROR_RATES,
            "Miss rate and false acceptance rate over the threshold",
            rates_figure(curve, score_type),
        ),
    ]


def comparison_pictures(curves: Mapping[str, DetCurve]) -> list[Picture]:
    """The DET curves of several systems in one picture; needs matplotlib."""
    return [_render("det", f"DET curves of {', '.join(curves)}", det_figure(curves))]


def save_pictures(pictures: list[Picture], folder: str | os.PathLike[str]) -> None:
    """Write pictures into a folder as png files, each whole or not at all.

    Raises:
        EvaluationError: the folder cannot be written to.
    """
    with _report_errors(folder):
        for picture in pictures:
            write_bytes(Path(folder) / f"{picture.name}.png", picture.png)


def _render(name: str, description: str, figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH)
    return Picture(name, description, buffer.getvalue())


def _report_errors(folder: str | os.PathLike[str]) -> AbstractContextManager[None]:
    return write_errors_as(EvaluationError, f"the report to '{folder}'", "choose another --report")
