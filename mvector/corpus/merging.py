"""Finished lists of several corpora joined into one, without a look at the audio."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvector.corpus.recipes.clip import Part
from mvector.corpus.splitting import LIST_NAMES
from mvector.data.lists import ClipList, read_list, write_list
from mvector.errors import DataError, count_of

logger = logging.getLogger(__name__)

# Training speakers are numbered from 0, and so are test speakers, in both of their lists.
_NUMBERED_TOGETHER: dict[str, tuple[Part, ...]] = {
    "training": ("train",),
    "test": ("enroll", "trials"),
}

_Lists = dict[Part, ClipList]


@dataclass(frozen=True)
class MergedList:
    """A list that was written: its part, file and size."""

    part: Part
    path: Path
    num_speakers: int
    num_clips: int


def merge_lists(
    sources: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> list[MergedList]:
    """Join lists of clips; the speakers of each source get numbers of their own, without gaps.

    Args:
        sources: training lists, which become ``train_list.txt``; or folders, of which training,
            enrolment and trials lists are joined. A test speaker has one number in both of these.
        output: folder of the joined lists; made where missing.

    Raises:
        DataError: there are fewer than two sources, or both lists and folders; a list is missing
            or malformed, a folder holds half a test; a clip is in two sources, in training and
            test, or of two speakers; the output would overwrite a source. Nothing is written then.
    """
    if len(sources) < 2:
        raise DataError("--merge joins two lists or more; give another list or folder.")
    names = [os.fspath(source) for source in sources]
    if len({os.path.isdir(name) for name in names}) > 1:
        raise DataError("--merge takes lists or folders; give all of one kind.")
    files = [_find_lists(name) for name in names]
    _refuse_to_overwrite(files, Path(output))
    lists = [
        {part: _without_repeats(read_list(file)) for part, file in own.items()} for own in files
    ]
    _refuse_shared_clips(names, lists)
    joined: dict[Part, list[tuple[str, int]]] = {}
    for kind, parts in _NUMBERED_TOGETHER.items():
        joined |= _join_and_number(kind, parts, names, lists)
    merged: list[MergedList] = []
    for part, entries in joined.items():
        target = Path(output) / LIST_NAMES[part]
        write_list(target, entries)
        num_speakers = len({label for _, label in entries})
        merged.append(MergedList(part, target, num_speakers, len(entries)))
    return merged


def _join_and_number(
    kind: str, parts: tuple[Part, ...], names: list[str], lists: list[_Lists]
) -> dict[Part, list[tuple[str, int]]]:
    joined: dict[Part, list[tuple[str, int]]] = {}
    first = 0
    for name, own in zip(names, lists, strict=True):
        chosen = {part: own[part] for part in parts if part in own}
        if not chosen:
            continue
        known = np.unique(np.concatenate([clips.labels for clips in chosen.values()]))
        for part, clips in chosen.items():
            labels = (first + np.searchsorted(known, clips.labels)).tolist()
            joined.setdefault(part, []).extend(zip(clips.paths, labels, strict=True))
        last = first + len(known) - 1
        logger.info("'%s': %s speakers are numbers %d to %d.", name, kind, first, last)
        first = last + 1
    return joined


def _find_lists(name: str) -> dict[Part, Path]:
    source = Path(name)
    if not source.is_dir():
        return {"train": source}
    files: dict[Part, Path] = {
        part: source / file for part, file in LIST_NAMES.items() if (source / file).is_file()
    }
    if not files:
        raise DataError(
            f"The folder '{name}' holds none of {', '.join(LIST_NAMES.values())}; make them with "
            "--dataset first."
        )
    if ("enroll" in files) != ("trials" in files):
        there, lacking = LIST_NAMES["enroll"], LIST_NAMES["trials"]
        if "trials" in files:
            there, lacking = lacking, there
        raise DataError(
            f"The folder '{name}' holds half a test, {there} without {lacking}; add the other."
        )
    if pairs := sorted(source.glob("trials_pairs*.txt")):
        logger.info(
            "Pairs are not joined, as each is a test of its own: %s.", ", ".join(map(str, pairs))
        )
    return files


def _refuse_to_overwrite(files: list[dict[Part, Path]], output: Path) -> None:
    targets = [output / LIST_NAMES[part] for own in files for part in own]
    for file in (file for own in files for file in own.values()):
        for target in targets:
            if target.exists() and file.exists() and target.samefile(file):
                raise DataError(f"--merge would overwrite '{file}'; choose another --output.")


def _without_repeats(clips: ClipList) -> ClipList:
    label_of: dict[str, int] = {}
    keep: list[int] = []
    for place, (path, label) in enumerate(zip(clips.paths, clips.labels.tolist(), strict=True)):
        if label_of.setdefault(os.path.normpath(path), label) != label:
            raise DataError(
                f"'{path}' is of two speakers in '{clips.source}', {label} and "
                f"{label_of[os.path.normpath(path)]}; remove the wrong line."
            )
        if len(label_of) > len(keep):
            keep.append(place)
    num_repeats = len(clips) - len(keep)
    if not num_repeats:
        return clips
    repeats = count_of(num_repeats, "line")
    logger.warning("Left out of '%s': %s with a clip listed before.", clips.source, repeats)
    return ClipList(clips.source, [clips.paths[place] for place in keep], clips.labels[keep])


def _refuse_shared_clips(names: list[str], lists: list[_Lists]) -> None:
    """Refuse a clip that is in two sources, or in training and test of one."""
    seen: dict[str, tuple[str, str]] = {}
    num_shared, example = 0, ""
    for name, own in zip(names, lists, strict=True):
        for part, clips in own.items():
            home = (name, "train" if part == "train" else "test")
            for path in clips.paths:
                other = seen.setdefault(os.path.normpath(path), home)
                if other != home:
                    num_shared += 1
                    example = example or f"'{path}', in '{other[0]}' and '{name}'"
    if num_shared:
        raise DataError(
            f"{count_of(num_shared, 'clip')} listed twice, the first {example}: nobody may have "
            "two numbers or both train and test; give each corpus once.",
            code="clip-listed-twice",
        )
