"""The turns of a recording as a picture: a row for each person."""

from __future__ import annotations

from pathlib import Path

from mvector.diarization.result import Diarization
from mvector.errors import DataError, import_errors_as
from mvector.files import save_figure

#: Okabe & Ito's palette, which colour-blind readers tell apart; further people begin anew.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F")


def colour_of(number: int) -> str:
    """The colour of a person, by their number from 0."""
    return COLOURS[number % len(COLOURS)]


def save_timeline(found: Diarization, path: Path) -> None:
    """Draw who speaks from when to when.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    with import_errors_as("A picture needs matplotlib: pip install matplotlib."):
        from matplotlib.figure import Figure
    people = [speaker.label for speaker in found.speakers]
    figure = Figure(figsize=(12.0, 1.2 + 0.4 * max(1, len(people))), layout="constrained")
    axes = figure.add_subplot()
    for number, label in enumerate(people):
        own = [turn for turn in found.turns if turn.speaker == label]
        bars = [(turn.start_s, turn.duration_s) for turn in own]
        axes.broken_barh(bars, (number - 0.4, 0.8), facecolors=colour_of(number))
    axes.set_yticks(range(len(people)), people, parse_math=False)  # a name may hold '$'
    axes.set_ylim(max(1, len(people)) - 0.5, -0.5)
    axes.set_xlim(0.0, max(found.duration_s, 1.0))
    axes.set_xlabel("seconds")
    axes.grid(axis="x", alpha=0.3)
    save_figure(figure, path, DataError)
