"""Clips with known speakers, to be drawn: which there are, and a choice of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvector.corpus.recipes.folder import scan_folder
from mvector.data.lists import clips_of_each_speaker, read_list
from mvector.embedding.files import read_embedding_table
from mvector.errors import DataError

MIN_SPEAKERS = 2
_LEAST_CLIPS = 2  # of a speaker: one has nothing to be alike with


@dataclass(frozen=True, eq=False)
class Voices:
    """Clips and whose they are.

    Attributes:
        source: file or folder that says so.
        paths: of the clips, N.
        names: of the speakers, S.
        speaker: int64 ``(N,)``: whose each clip is, from 0.
        embeddings: float32 ``(N, D)``, or ``None`` where they are to be computed.
        num_left_out: clips without a usable embedding.
    """

    source: str
    paths: list[str]
    names: list[str]
    speaker: np.ndarray
    embeddings: np.ndarray | None = None
    num_left_out: int = 0

    def part(self, rows: Sequence[int] | np.ndarray) -> Voices:
        """Some of the clips, with the speakers that these have."""
        rows = np.asarray(rows, dtype=np.int64)
        kept, speaker = np.unique(self.speaker[rows], return_inverse=True)
        return Voices(
            self.source,
            [self.paths[row] for row in rows],
            [self.names[number] for number in kept],
            speaker,
            None if self.embeddings is None else self.embeddings[rows],
            self.num_left_out,
        )

    def chosen(self, most_clips: int) -> Voices:
        """At most so many clips, evenly spaced; of all speakers, or of evenly spaced ones."""
        if len(self.paths) <= most_clips:
            return self
        groups = clips_of_each_speaker(self.speaker, None)
        num_speakers = max(MIN_SPEAKERS, min(len(groups), most_clips // _LEAST_CLIPS))
        groups = [groups[at * len(groups) // num_speakers] for at in range(num_speakers)]
        each = max(1, most_clips // num_speakers)
        rows = [
            own[at * len(own) // min(each, len(own))]
            for own in groups
            for at in range(min(each, len(own)))
        ]
        return self.part(rows)


def find_voices(source: str | os.PathLike[str], *, data_root: str | None = None) -> Voices:
    """The clips that a list, a folder of speakers or a file of embeddings names.

    Speakers are called by their folders where each has one of their own, and else by the labels.

    Args:
        source: a list ``path<TAB>speaker number``; a folder ``<speaker>/<clip>``; or an ``.npz`` of
            ``tools/extract_embeddings.py``. Rows of it that are zero or not finite are left out.
        data_root: where relative paths of a list start.

    Raises:
        DataError: it cannot be read, holds one speaker only, or says of no clip whose it is.
    """
    path = Path(source)
    if path.is_dir():
        clips = scan_folder(path)
        return _numbered(str(source), [c.path for c in clips], [c.speaker for c in clips])
    if path.suffix.lower() == ".npz":
        return _of_table(str(source))
    listed = read_list(source, root=data_root)
    paths = list(listed.paths)
    return _numbered(str(source), paths, _names_of(paths, listed.labels.tolist()))


def _of_table(source: str) -> Voices:
    table = read_embedding_table(source)
    labels = None if table.labels is None else table.labels.tolist()
    names = _names_of(table.paths, labels)
    good = np.flatnonzero(table.is_good)
    if not len(good):
        raise DataError(
            f"'{source}' holds no embedding that is finite and not zero; write it anew."
        )
    return _numbered(
        source,
        [table.paths[row] for row in good],
        [names[row] for row in good],
        table.embeddings[good],
        len(table.paths) - len(good),
    )


def _names_of(paths: Sequence[str], labels: Sequence[object] | None) -> list[str]:
    """A name for the speaker of each clip: the folder that tells them apart, or else the label."""
    folders = [path.replace("\\", "/").split("/")[:-1] for path in paths]
    for depth in (1, 2):  # <speaker>/<clip>, or <speaker>/<session>/<clip>
        own = [parts[-depth] if len(parts) >= depth else "" for parts in folders]
        if labels is None:
            if depth == 1 and all(own):
                return own
        elif all(own) and len({*own}) == len({*labels}) == len({*zip(own, labels, strict=True)}):
            return own
    return [""] * len(paths) if labels is None else [str(label) for label in labels]


def _numbered(
    source: str,
    paths: list[str],
    names: Sequence[str],
    embeddings: np.ndarray | None = None,
    num_left_out: int = 0,
) -> Voices:
    known, speaker = np.unique(np.array(names), return_inverse=True)
    if len(known) < MIN_SPEAKERS:
        raise DataError(
            f"The clips of '{source}' are all of one speaker, as far as their labels or folders "
            "tell; a map of voices takes two or more."
        )
    return Voices(source, paths, known.tolist(), speaker, embeddings, num_left_out)
