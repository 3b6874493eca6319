"""Lists of trials in the forms that corpora and toolkits publish them, told by their content.

===============================  =========================  =====================================
list of trials                   line                       second list (``enroll_list``)
===============================  =========================  =====================================
VoxCeleb O, E, H                 ``1 path path``            none
WeSpeaker, 3D-Speaker, NIST SRE  ``path path target``       none
Kaldi                            ``utt utt nontarget``      ``wav.scp``: ``utt path``
CN-Celeb                         ``model path 1``           ``enroll.lst``, ``enroll.map``:
                                                            ``model path [path ...]``
Kaldi, several clips a model     ``model utt target``       ``spk2utt`` and ``wav.scp`` in one
                                                            file: ``model utt [utt ...]``,
                                                            ``utt path``
all pairs                        ``path<TAB>speaker``       the same, clips to enrol
===============================  =========================  =====================================

In every form the label stands first or last, the same way in the whole list, and is ``1``,
``target``, ``0`` or ``nontarget``. Fields are separated by spaces or tabs; a line with tabs alone
between its fields may have spaces in its paths. A name of a trial that the second list does not
hold is a path. Lines may end as on Windows, and blank lines are skipped. A model may go on in
several lines of the second list.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mvector.data.lists import list_errors
from mvector.errors import DataError
from mvector.files import not_utf8, with_local_separators
from mvector.scoring.trials import EnrolmentModels, PairTrials

_IS_TARGET = {b"1": 1, b"target": 1, b"0": 0, b"nontarget": 0}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_trials(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    enroll_list: str | os.PathLike[str] | None = None,
) -> PairTrials:
    """Read a list of trials in any of the forms above.

    Args:
        path: the list, UTF-8.
        root: folder that relative clip paths start from; ``None`` leaves them as they are.
        enroll_list: says which clips a name stands for; a list ``path<TAB>speaker`` or a file that
            is not there says nothing, so the names are paths.

    Raises:
        DataError: a list is empty or not text, a line is malformed, or the form is ambiguous.
    """
    source = os.fspath(path)
    labels, first, second, names = _read_pairs(source)
    clips_of = {} if enroll_list is None else _read_enrolment(os.fspath(enroll_list))
    if clips_of and not any(name in clips_of for name in names):
        raise DataError(
            f"'{enroll_list}' holds none of the names of {source}, such as '{names[0]}'; give the "
            "file that belongs to these trials, or none where the names are paths."
        )
    return _resolve_names(source, labels, first, second, names, clips_of, root)


def is_trials_file(path: str | os.PathLike[str]) -> bool:
    """Whether a list holds trials (True) or clips ``path<TAB>label`` (False).

    The first line that is not blank decides.

    Raises:
        DataError: the list is missing, empty or not text, or that line has neither form.
    """
    source = os.fspath(path)
    for number, line in _numbered_lines(source):
        columns = line.split(b"\t")
        if len(columns) == 2 and columns[1].strip().isdigit():
            return False
        fields = _split_fields(line)
        if fields is not None and (fields[0] in _IS_TARGET or fields[2] in _IS_TARGET):
            return True
        if len(columns) == 2:
            return False
        raise DataError(
            f"{source}, line {number}: expected a trial 'label path path' with label 0 or 1, "
            f"or a clip 'path<TAB>label', got '{_line_text(line, source)}'{_cure_of(line)}."
        )
    raise DataError(f"{source} is empty; write trials 'label path path' or clips 'path<TAB>label'.")


def _read_pairs(source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Labels, number of the first and of the second name of each line, and the names."""
    number_of: dict[bytes, int] = {}
    first, second, labels = array("i"), array("i"), bytearray()
    column = _label_column(source)
    left, right = (1, 2) if column == 0 else (0, 1)
    with _open_list(source) as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if len(fields) != 3:
                if not fields:
                    continue
                fields = _split_fields(line.strip(b" \t\r\n")) or _refuse_line(source, number, line)
            label = _IS_TARGET.get(fields[column])
            if label is None:
                raise DataError(
                    f"{source}, line {number}: the label must be 1 or target (same speaker), 0 or "
                    f"nontarget (different speakers), got '{_line_text(fields[column], source)}'."
                )
            labels.append(label)
            first.append(number_of.setdefault(fields[left], len(number_of)))
            second.append(number_of.setdefault(fields[right], len(number_of)))
    try:
        names = [name.decode() for name in number_of]
    except UnicodeDecodeError as error:
        raise DataError(f"{source} {not_utf8(Path(source).read_bytes())}.") from error
    return (
        np.frombuffer(labels, dtype=np.uint8).astype(bool),
        np.frombuffer(first, dtype=np.int32),
        np.frombuffer(second, dtype=np.int32),
        names,
    )


def _label_column(source: str) -> int:
    """0 or 2: where the first line that leaves no doubt has its label."""
    is_empty = True
    for number, line in _numbered_lines(source):
        is_empty = False
        fields = _split_fields(line) or _refuse_line(source, number, line)
        columns = [column for column in (0, 2) if fields[column] in _IS_TARGET]
        if not columns:
            raise DataError(
                f"{source}, line {number}: the label must be 1 or target (same speaker), 0 or "
                "nontarget (different speakers), in the first or in the last column, got "
                f"'{_line_text(fields[0], source)}' and '{_line_text(fields[2], source)}'."
            )
        if len(columns) == 1:
            return columns[0]
    if is_empty:
        raise DataError(f"{source} is empty; write one trial 'label path path' a line.")
    raise DataError(
        f"{source} is ambiguous: the first and the last column of every line could be the label; "
        "write target and nontarget for it, and no clip of such a name."
    )


def _read_enrolment(source: str) -> dict[str, list[str]]:
    """Clips of each name; empty for a list of clips ``path<TAB>label`` and where there is none."""
    clips_of: dict[str, list[str]] = {}
    if not Path(source).exists():
        return clips_of
    for number, line in _numbered_lines(source):
        text = _line_text(line, source, shorten=False)
        fields = [field.strip(" ") for field in text.split("\t")]
        if not clips_of and len(fields) == 2 and fields[1].isdecimal():
            return {}
        if len(fields) < 2:
            fields = re.split(" +", text)  # not str.split(): a name may hold an ideographic space
        if len(fields) < 2 or not all(fields):
            raise DataError(
                f"{source}, line {number}: expected a name and its clips, 'name path [path ...]', "
                f"got '{_line_text(line, source)}'."
            )
        if text.endswith("|"):
            raise DataError(
                f"{source}, line {number}: '{_line_text(line, source)}' is a command and no file; "
                "write its audio to a file and name that."
            )
        clips_of.setdefault(fields[0], []).extend(fields[1:])
    for name, clips in clips_of.items():
        clips_of[name] = [
            path
            for clip in clips
            for path in (clips_of[clip] if clip != name and clip in clips_of else [clip])
        ]
    return clips_of


def _resolve_names(
    source: str,
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    names: list[str],
    clips_of: dict[str, list[str]],
    root: str | os.PathLike[str] | None,
) -> PairTrials:
    """The trials with numbers of clips and models in the place of numbers of names."""
    number_of: dict[str, int] = {}

    def numbers(name: str) -> list[int]:
        paths = clips_of.get(name, [name])
        if root is not None:
            paths = [os.path.join(root, path) for path in paths]
        return [number_of.setdefault(path, len(number_of)) for path in paths]

    clips = [numbers(name) for name in names]
    several = np.array([len(own) > 1 for own in clips])
    if several[second].any():
        name = names[int(second[several[second].argmax()])]
        raise DataError(
            f"{source}: '{name}' is tested, and has several clips in the second list; a test is "
            "one clip."
        )
    single = np.array([own[0] for own in clips], dtype=np.int32)
    models, enroll_index = None, single[first]
    if several[first].any():
        enrolled, enroll_index = np.unique(first, return_inverse=True)
        own = [clips[name] for name in enrolled]
        models = EnrolmentModels(
            tuple(names[name] for name in enrolled),
            np.array([clip for of_model in own for clip in of_model], dtype=np.int32),
            np.cumsum([0, *map(len, own)], dtype=np.int64),
        )
    return PairTrials(
        source=source,
        paths=tuple(with_local_separators(list(number_of))),
        enroll_index=enroll_index.astype(np.int32),
        test_index=single[second],
        labels=labels,
        models=models,
    )


def _split_fields(line: bytes) -> list[bytes] | None:
    fields = [field.strip(b" ") for field in line.split(b"\t")]
    if len(fields) != 3 or not all(fields):
        fields = line.split()
    return fields if len(fields) == 3 else None


def _refuse_line(source: str, number: int, line: bytes) -> list[bytes]:
    text = _line_text(line, source)
    raise DataError(
        f"{source}, line {number}: expected 'label path path', got '{text}'{_cure_of(line)}."
    )


def _cure_of(line: bytes) -> str:
    """What to do about a line of more than three words."""
    has_more = len(line.split()) > 3
    return "; separate the fields by tabs where a path holds spaces" if has_more else ""


def _numbered_lines(source: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    with _open_list(source) as file:
        for number, line in enumerate(file, start=1):
            text = line.strip(b" \t\r\n")
            if text:
                yield number, text


def _open_list(source: str) -> BinaryIO:
    """The list, behind a byte order mark."""
    with list_errors(source):
        file = open(source, "rb")  # noqa: SIM115
        start = file.read(256)
        if b"\0" in start:
            raise DataError(f"{source} {not_utf8(start)}.")
        file.seek(len(_BYTE_ORDER_MARK) if start.startswith(_BYTE_ORDER_MARK) else 0)
    return file


def _line_text(line: bytes, source: str, *, shorten: bool = True) -> str:
    try:
        text = line.strip(b" \t\r\n").decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{source} {not_utf8(Path(source).read_bytes())}.") from error
    return f"{text[:77]}..." if shorten and len(text) > 80 else text
