"""Turns and scored regions as text: the RTTM and UEM files that scoring tools exchange.

RTTM has a line for a turn, whose fields are separated by spaces or tabs::

    SPEAKER recording channel start duration <NA> <NA> speaker [<NA> [<NA>]]

in seconds, as defined in appendix A of NIST's *2009 (RT-09) Rich Transcription Meeting Recognition
Evaluation Plan*. Lines of other types, and comments after ``;;``, say nothing about turns and are
passed over. UEM has a line for a region that is scored: ``recording channel start end``. One
recording has one timeline here: turns of all of its channels are joined.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from mvector.diarization.turns import Turn
from mvector.errors import DataError, count_of
from mvector.files import read_errors_as, read_utf8, write_errors_as, write_text

Regions: TypeAlias = "list[tuple[float, float]]"

_T = TypeVar("_T")

_OTHER_TYPES = {
    *("SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER"),
    *("EDIT", "IP", "SU", "CB", "A/P", "SPKR-INFO"),
}
_NOTHING = "<NA>"


def read_rttm(path: str | os.PathLike[str]) -> dict[str, list[Turn]]:
    """The turns of each recording, by their starts; a turn of no length is left out.

    Args:
        path: an RTTM file, UTF-8, or a folder with ``*.rttm`` in it or in folders below.

    Raises:
        DataError: no such file, or none in the folder; a line is malformed (the sentence names file
            and line); two files of a folder hold one recording.
    """
    found = _read(Path(path), ".rttm", _parse_turn)
    return {
        recording: sorted((turn for turn in turns if turn.duration_s > 0), key=_start_and_end)
        for recording, turns in found.items()
    }


def read_uem(path: str | os.PathLike[str]) -> dict[str, Regions]:
    """The regions ``(start_s, end_s)`` of each recording that are scored, by their starts.

    Args:
        path: a UEM file, UTF-8, or a folder with ``*.uem`` in it or in folders below.

    Raises:
        DataError: as :func:`read_rttm`.
    """
    found = _read(Path(path), ".uem", _parse_region)
    return {recording: sorted(regions) for recording, regions in found.items()}


def write_rttm(path: str | os.PathLike[str], turns: Mapping[str, Sequence[Turn]]) -> None:
    """Write the turns of recordings, people by their names where known.

    A space within a label or the name of a recording becomes ``_``, as spaces separate fields.

    Raises:
        DataError: the file cannot be written.
    """
    with write_errors_as(DataError, f"'{path}'"):
        write_text(Path(path), rttm_lines(turns))


def rttm_lines(turns: Mapping[str, Sequence[Turn]]) -> Iterator[str]:
    """The lines of :func:`write_rttm`, each with its end."""
    return (_turn_line(recording, turn) for recording in turns for turn in turns[recording])


def write_uem(path: str | os.PathLike[str], regions: Mapping[str, Regions]) -> None:
    """Write the regions ``(start_s, end_s)`` of recordings that are to be scored.

    Raises:
        DataError: the file cannot be written.
    """
    lines = (
        f"{as_field(recording)} 1 {start_s:.3f} {end_s:.3f}\n"
        for recording in regions
        for start_s, end_s in regions[recording]
    )
    with write_errors_as(DataError, f"'{path}'"):
        write_text(Path(path), lines)


def as_field(text: str) -> str:
    """A name as it stands in RTTM: one word, with ``_`` in the place of white space."""
    return "_".join(text.split()) or _NOTHING


def _turn_line(recording: str, turn: Turn) -> str:
    start_s, end_s = (
        round(turn.start_s, 3),
        round(turn.end_s, 3),
    )  # a turn ends where the next begins
    return (
        f"SPEAKER {as_field(recording)} 1 {start_s:.3f} {end_s - start_s:.3f} "
        f"{_NOTHING} {_NOTHING} {as_field(turn.label)} {_NOTHING} {_NOTHING}\n"
    )


def _start_and_end(turn: Turn) -> tuple[float, float]:
    return turn.start_s, turn.end_s


def _read(
    path: Path, suffix: str, parse: Callable[[list[str]], tuple[str, _T] | None]
) -> dict[str, list[_T]]:
    """What the lines of a file, or of all files of a folder, say of each recording."""
    found: dict[str, list[_T]] = {}
    file_of: dict[str, Path] = {}
    for file in _files_of(path, suffix):
        for number, fields in _lines_of(file):
            try:
                entry = parse(fields)
            except ValueError as error:
                raise _malformed(f"{file}, line {number}: {error}.") from error
            if entry is None:
                continue
            recording, value = entry
            if file_of.setdefault(recording, file) != file:
                raise _malformed(
                    f"'{recording}' is in {file_of[recording]} and in {file}; leave one out."
                )
            found.setdefault(recording, []).append(value)
    return found


def _malformed(sentence: str) -> DataError:
    return DataError(sentence, code="turns-malformed")


def _files_of(path: Path, suffix: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob(f"*{suffix}") if file.is_file())
    if not files:
        raise DataError(
            f"The folder '{path}' has no file *{suffix}; name the one that has.",
            code="turns-not-found",
        )
    return files


def _lines_of(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Number from 1 and fields of each line that is neither blank nor a comment."""
    with read_errors_as(DataError, f"'{file}'", code="turns-not-found"):
        text = read_utf8(file)
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if fields and not fields[0].startswith(";;"):
            yield number, fields


def _parse_turn(fields: list[str]) -> tuple[str, Turn] | None:
    if fields[0] in _OTHER_TYPES:
        return None
    if fields[0] != "SPEAKER":
        raise ValueError(
            f"'{_shortened(fields[0])}' is no type of RTTM line; SPEAKER is that of turns"
        )
    if not 8 <= len(fields) <= 10:
        raise ValueError(
            "expected 'SPEAKER recording channel start duration <NA> <NA> speaker <NA> <NA>', got "
            f"{count_of(len(fields), 'field')}; a name must be one word"
        )
    if fields[7] == _NOTHING:
        raise ValueError(f"the speaker is {_NOTHING}; every turn needs one")
    start_s, duration_s = _seconds(fields[3], "start"), _seconds(fields[4], "duration")
    return fields[1], Turn(start_s, start_s + duration_s, fields[7])


def _parse_region(fields: list[str]) -> tuple[str, tuple[float, float]]:
    if len(fields) != 4:
        raise ValueError(
            f"expected 'recording channel start end', got {count_of(len(fields), 'field')}"
        )
    start_s, end_s = _seconds(fields[2], "start"), _seconds(fields[3], "end")
    if end_s <= start_s:
        raise ValueError(f"the end {fields[3]} is not behind the start {fields[2]}")
    return fields[0], (start_s, end_s)


def _seconds(field: str, what: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"the {what} '{_shortened(field)}' is no number of seconds from 0")
    return value


def _shortened(field: str) -> str:
    return f"{field[:37]}..." if len(field) > 40 else field
