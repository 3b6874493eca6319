"""A corpus listed in a table: CSV or TSV with a header."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvector.audio import split_channel
from mvector.corpus.recipes.clip import Clip, Part, name_some
from mvector.corpus.recipes.walk import listed_path
from mvector.errors import DataError, count_of
from mvector.files import read_errors_as

logger = logging.getLogger(__name__)

# The first of these that a header has is taken.
_PATH_NAMES = [
    *("path", "file", "filename", "filepath", "filelocation"),
    *("wav", "wavpath", "wavfile", "wavfilename", "utterancepath", "clip"),
    *("audio", "audiopath", "audiofile", "audiofilepath", "audiofilename"),
]
_SPEAKER_NAMES = [
    *("speaker", "speakerid", "spk", "spkid", "speakername", "speakerlabel"),
    *("label", "clientid", "userid"),
]
_SPLIT_NAMES = ["split", "part", "subset", "set", "partition", "fold"]
_TRAIN = {"train", "training", "tr"}
_TEST = {"dev", "devel", "development", "valid", "validation", "val", "eval", "test", "testing"}
_NONE = "none"


@dataclass(frozen=True)
class _Row:
    number: int
    path: str
    speaker: str
    split: str


def scan_csv(
    path: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    speaker_column: str | None = None,
    split_column: str | None = None,
) -> list[Clip]:
    """Clips of a table with a header; the separator is the tab, comma or semicolon of the header.

    Args:
        path: the table, UTF-8; relative paths in it start from its folder, or from ``clips/`` in
            it, as those of Common Voice do.
        path_column: the column of the clips' paths; ``None`` takes ``path``, ``file``, ``wav`` …
        speaker_column: of the speakers; ``None`` takes ``speaker``, ``speaker_id``, ``label`` …
        split_column: of ``train``, ``dev`` and ``test``; ``None`` takes ``split``, ``part`` … where
            there is one, ``"none"`` takes none. Speakers of ``dev`` and ``test`` are test speakers.

    Returns:
        Clips in the order of the table, without rows with an empty cell, repeated rows and clips
        given to two speakers, all of which are counted in warnings.

    Raises:
        DataError: the table is missing, not a table, lacks a column or has an unknown split.
    """
    file = Path(os.path.abspath(Path(path).expanduser()))
    if file.is_dir():
        raise DataError(f"'{path}' is a folder; give the CSV or TSV file as --path.")
    clips = _clips_of_rows(file, _read_rows(file, (path_column, speaker_column, split_column)))
    if not clips:
        raise DataError(f"'{path}' lists no clip; expected a header and a row for each clip.")
    if not any(os.path.exists(split_channel(clip.path)[0]) for clip in clips):
        raise DataError(
            f"None of the {len(clips)} clips of '{path}' exists, such as '{clips[0].path}'; "
            "relative paths start from the folder of the table."
        )
    return clips


def _clips_of_rows(file: Path, rows: Iterable[_Row]) -> list[Clip]:
    clip_of: dict[str, Clip] = {}
    contested: set[str] = set()
    num_repeated = num_incomplete = 0
    base: Path | None = None
    here = os.getcwd()
    for row in rows:
        if not (row.path and row.speaker and row.split):
            num_incomplete += 1
            continue
        written = os.path.expanduser(row.path.replace("\\", "/"))
        base = base or _base_folder(file, written)
        path = listed_path(os.path.join(base, written), here)
        clip = Clip(path, row.speaker, _part(row, file))
        first = clip_of.setdefault(path, clip)
        num_repeated += first is not clip
        if first.speaker != clip.speaker:
            contested.add(path)
    if num_incomplete:
        lost = count_of(num_incomplete, "row")
        logger.warning("Left out of '%s': %s with an empty cell.", file, lost)
    if num_repeated:
        lost = count_of(num_repeated, "row")
        logger.warning("Left out of '%s': %s with a path given before.", file, lost)
    if contested:
        logger.warning(
            "Left out: %s given to more than one speaker: %s.",
            count_of(len(contested), "clip"),
            name_some(contested),
        )
    return [clip for path, clip in clip_of.items() if path not in contested]


def _base_folder(file: Path, first: str) -> Path:
    """Where relative paths start: the table's folder, or ``clips/`` in it, as in Common Voice."""
    is_below = not (file.parent / first).exists() and (file.parent / "clips" / first).exists()
    return file.parent / "clips" if is_below else file.parent


def _read_rows(file: Path, chosen: tuple[str | None, str | None, str | None]) -> Iterator[_Row]:
    try:
        with (
            read_errors_as(DataError, f"The table '{file}'", "check --path"),
            file.open(encoding="utf-8-sig", newline="") as stream,
        ):
            header_line = stream.readline()
            if not header_line.strip():
                raise DataError(f"'{file}' does not begin with a header; write one.")
            separator = max("\t,;", key=header_line.count)
            header = [cell.strip() for cell in next(csv.reader([header_line], delimiter=separator))]
            of_path = _column(header, chosen[0], _PATH_NAMES, "--path_column", file)
            of_speaker = _column(header, chosen[1], _SPEAKER_NAMES, "--speaker_column", file)
            of_split = _split_column(header, chosen[2], file)
            logger.info(
                "Columns: '%s' for paths, '%s' for speakers%s.",
                header[of_path],
                header[of_speaker],
                "" if of_split is None else f", '{header[of_split]}' for the split",
            )
            reader = csv.reader(stream, delimiter=separator)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                split = "train" if of_split is None else _cell(cells, of_split)
                path, speaker = _cell(cells, of_path), _cell(cells, of_speaker)
                yield _Row(reader.line_num + 1, path, speaker, split)
    except (csv.Error, StopIteration) as error:
        raise DataError(f"'{file}' is no CSV or TSV with a header; export it so.") from error


def _cell(cells: list[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _column(
    header: list[str], wanted: str | None, usual: Sequence[str], option: str, file: Path
) -> int:
    if wanted is not None:
        if wanted in header:
            return header.index(wanted)
        raise DataError(f"'{file}' has no column '{wanted}' ({option}); it has {_quoted(header)}.")
    plain = [_plain(name) for name in header]
    for name in usual:
        if name in plain:
            return plain.index(name)
    raise DataError(
        f"Which column of '{file}' to take is unclear: name one of {_quoted(header)} with {option}."
    )


def _split_column(header: list[str], wanted: str | None, file: Path) -> int | None:
    if wanted == _NONE:
        return None
    if wanted is not None:
        return _column(header, wanted, (), "--split_column", file)
    plain = [_plain(name) for name in header]
    return next((plain.index(name) for name in _SPLIT_NAMES if name in plain), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _part(row: _Row, file: Path) -> Part:
    split = row.split.lower()
    if split in _TRAIN:
        return "train"
    if split in _TEST:
        return "test"
    raise DataError(
        f"'{file}', line {row.number}: the split '{row.split}' is neither train, dev nor test; "
        "correct it, or pass --split_column none to leave that column out."
    )
