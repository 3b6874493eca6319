"""Published trials: pairs of clips under the corpus's own names, rewritten to our paths."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mvector.corpus.recipes.clip import name_some
from mvector.corpus.recipes.walk import read_lines
from mvector.errors import DataError
from mvector.files import write_errors_as, write_text

logger = logging.getLogger(__name__)

PAIRS_NAME = "trials_pairs.txt"

_LABELS = {"1": "1", "0": "0", "target": "1", "nontarget": "0"}


@dataclass(frozen=True)
class PublishedTrials:
    """A file of trials and the clips that it names."""

    source: Path
    list_name: str  # of the list that is written from it
    key_of: dict[str, str]  # Clip.key of each clip by the corpus's name
    missing: tuple[str, ...]  # names of which the corpus holds no clip


@dataclass(frozen=True)
class WrittenPairs:
    """A list of pairs as it was written: where, and how many lines it has and lacks."""

    path: Path
    num_pairs: int
    num_left_out: int


def read_pairs(path: Path) -> Iterator[tuple[str, str, str]]:
    """Trials of a file: label ``1`` or ``0`` and two names.

    The label stands first or last, as ``1``/``0`` or ``target``/``nontarget``.

    Raises:
        DataError: the file cannot be read, or a line is no trial.
    """
    for number, line in read_lines(path):
        fields = [field.strip(" ") for field in line.split("\t")]
        if len(fields) != 3:
            fields = re.split(r"[ \t]+", line)
        if len(fields) == 3 and fields[0] in _LABELS:
            yield _LABELS[fields[0]], fields[1], fields[2]
        elif len(fields) == 3 and fields[2] in _LABELS:
            yield _LABELS[fields[2]], fields[0], fields[1]
        else:
            raise DataError(
                f"'{path}', line {number}: expected a trial 'label clip clip' with label 0 or 1, "
                f"got '{line[:80]}'."
            )


def read_published_trials(
    path: str | os.PathLike[str], list_name: str, find: Callable[[str], str | None]
) -> PublishedTrials:
    """Find the clips that a file of trials names.

    Args:
        path: the file.
        list_name: of the list to write.
        find: gives the key of a named clip, ``None`` where there is none.

    Raises:
        DataError: the file cannot be read, is empty or malformed.
    """
    source = Path(path).expanduser()
    names: dict[str, None] = {}
    for _, first, second in read_pairs(source):
        names[first] = names[second] = None
    if not names:
        raise DataError(f"'{path}' is empty; expected lines 'label clip clip'.")
    found = {name: find(name) for name in names}
    missing = tuple(name for name, key in found.items() if key is None)
    if missing:
        logger.warning(
            "%d of the %d clips that '%s' names are not in the corpus (%s); their trials are "
            "left out.",
            len(missing),
            len(names),
            path,
            name_some(missing),
        )
    key_of = {name: key for name, key in found.items() if key is not None}
    return PublishedTrials(source, list_name, key_of, missing)


def read_trial_files(
    paths: Iterable[str], find: Callable[[str], str | None], example: str
) -> list[PublishedTrials]:
    """The files that a user gives, each of which becomes ``trials_pairs_<its name>.txt``.

    Args:
        paths: the files.
        find: as in :func:`read_published_trials`.
        example: how the corpus names a clip, for messages.

    Raises:
        DataError: one cannot be read or names no clip of the corpus, or two have one name.
    """
    trials: list[PublishedTrials] = []
    for path in paths:
        list_name = f"trials_pairs_{Path(path).stem}.txt"
        if any(list_name == other.list_name for other in trials):
            raise DataError(f"Two files of trials are named '{Path(path).stem}'; rename one.")
        own = read_published_trials(path, list_name, find)
        if not own.key_of:
            raise DataError(
                f"None of the {len(own.missing)} clips that '{path}' names is in the corpus, such "
                f"as '{own.missing[0]}'; expected names like '{example}' and --path to hold them."
            )
        trials.append(own)
    return trials


def write_pairs(
    trials: PublishedTrials, path_of: Mapping[str, str], output: str | os.PathLike[str]
) -> WrittenPairs | None:
    """Write ``label path path`` lines of the trials both clips of which are good.

    The fields are separated by spaces, by tabs where a path holds spaces.

    Args:
        trials: what :func:`read_published_trials` gave.
        path_of: path of each good clip by its key.
        output: folder of the lists.

    Returns:
        ``None`` where no trial is left.

    Raises:
        DataError: the folder cannot be written to.
    """
    target = Path(output) / trials.list_name
    counts = {True: 0, False: 0}
    good = {name: path_of[key] for name, key in trials.key_of.items() if key in path_of}

    def lines() -> Iterator[str]:
        for label, first, second in read_pairs(trials.source):
            is_good = first in good and second in good
            counts[is_good] += 1
            if is_good:
                one, two = good[first], good[second]
                space = "\t" if " " in one or " " in two else " "
                yield f"{label}{space}{one}{space}{two}\n"

    if not good:
        logger.warning("No trial of '%s' can be used: none is written.", trials.source)
        return None
    with write_errors_as(DataError, f"'{target}'"):
        write_text(target, lines())
        if not counts[True]:
            target.unlink()
    if counts[False]:
        logger.warning(
            "%d of the %d trials of '%s' are left out, because a clip is missing or bad.",
            counts[False],
            sum(counts.values()),
            trials.source,
        )
    return WrittenPairs(target, counts[True], counts[False]) if counts[True] else None
