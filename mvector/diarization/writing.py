"""Turns in the formats of other programs: captions, tables, RTTM, JSON, a page, a picture."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from html import escape
from pathlib import Path

from mvector.diarization.page import diarization_page
from mvector.diarization.picture import save_timeline
from mvector.diarization.result import Diarization
from mvector.diarization.rttm import rttm_lines
from mvector.errors import DataError, MVectorError
from mvector.files import check_file_writable, write_errors_as, write_text


def to_json(found: Diarization) -> str:
    """One object, as :meth:`Diarization.to_dict` has it; ``--same_as`` reads it."""
    return json.dumps(found.to_dict(), ensure_ascii=False) + "\n"


def to_rttm(found: Diarization) -> str:
    """Lines of RTTM, of a recording by its name without the suffix."""
    return "".join(rttm_lines({Path(found.recording).stem: found.turns}))


def to_srt(found: Diarization) -> str:
    """SubRip captions, one a turn, with the person in the place of words."""
    return "\n".join(
        f"{number}\n{_time(turn.start_s, ',')} --> {_time(turn.end_s, ',')}\n{turn.label}\n"
        for number, turn in enumerate(found.turns, start=1)
    )


def to_vtt(found: Diarization) -> str:
    """WebVTT captions, each in a voice span (https://www.w3.org/TR/webvtt1)."""
    cues = (
        f"{_time(turn.start_s, '.')} --> {_time(turn.end_s, '.')}\n<v {label}>{label}\n"
        for turn in found.turns
        for label in [escape(turn.label, quote=False)]
    )
    return "\n".join(["WEBVTT\n", *cues])


def to_csv(found: Diarization) -> str:
    """A table with a line for each turn and one of headings."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["start_s", "end_s", "speaker", "name", "score", "overlap"])
    for turn in found.turns:
        score = "" if turn.score is None else f"{turn.score:.4f}"
        start_s, end_s = f"{turn.start_s:.3f}", f"{turn.end_s:.3f}"
        table.writerow([start_s, end_s, turn.speaker, turn.name or "", score, int(turn.overlap)])
    return stream.getvalue()


_TEXTS: dict[str, Callable[[Diarization], str]] = {
    ".rttm": to_rttm,
    ".json": to_json,
    ".srt": to_srt,
    ".vtt": to_vtt,
    ".csv": to_csv,
}
#: What the name of a file may end with.
SUFFIXES = (*_TEXTS, ".html", ".png")


def check_out_path(path: str | os.PathLike[str]) -> None:
    """Refuse a file that nothing can be written to, before a long recording is heard.

    Raises:
        MVectorError: its suffix names no format.
        DataError: its folder cannot be made or written to.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise MVectorError(f"'{path}' names no format; end it with {', '.join(SUFFIXES)}.")
    with write_errors_as(DataError, f"'{path}'", "choose another --out"):
        check_file_writable(file)


def save_diarization(
    found: Diarization, path: str | os.PathLike[str], sound: str | None = None
) -> None:
    """Write turns in the format that the suffix names; the file appears whole or not at all.

    Args:
        found: who spoke when.
        path: ends with one of :data:`SUFFIXES`.
        sound: file of the recording, which a page plays.

    Raises:
        MVectorError: as :func:`check_out_path`.
        DataError: the file cannot be written.
        MissingDependencyError: a picture needs matplotlib.
    """
    check_out_path(path)
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix == ".png":
        save_timeline(found, file)
    else:
        with write_errors_as(DataError, f"'{path}'", "choose another --out"):
            if suffix == ".html":
                write_text(
                    file, diarization_page(found, sound, file.parent), errors="backslashreplace"
                )
            else:
                write_text(file, _TEXTS[suffix](found))


def _time(seconds: float, point: str) -> str:
    """``01:02:03,450``."""
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{rest:03d}"
