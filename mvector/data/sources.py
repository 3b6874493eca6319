"""Where training clips come from: audio files, or one packed corpus and copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from mvector.audio import audio_info
from mvector.data.lists import ClipList
from mvector.data.packed import PATHS_NAME, PackedCorpus
from mvector.errors import DataError, MVectorError
from mvector.features.front_end import FrontEnd
from mvector.progress import progress_bar

_HEADER_READERS = 16  # threads: reading headers is waiting for the disk


class FileClips:
    """The audio files that a list names."""

    def __init__(self, clips: ClipList, front_end: FrontEnd) -> None:
        self.paths = clips.paths
        self.front_end = front_end

    def duration_s(self, index: int) -> float:
        """Length of a clip in seconds; ``AudioError`` for a file that is missing or not audio."""
        return audio_info(self.paths[index]).duration_s

    def durations_s(self) -> np.ndarray:
        """Lengths of all clips, ``(clips,)``; 0 for one that cannot be opened."""
        with ThreadPoolExecutor(_HEADER_READERS) as pool:
            found = pool.map(self._duration_or_0, range(len(self.paths)))
            total = len(self.paths)
            bar = progress_bar(found, total=total, desc="Clip lengths", unit="clip")
            return np.fromiter(bar, dtype=np.float64, count=total)

    def _duration_or_0(self, index: int) -> float:
        try:
            return self.duration_s(index)
        except MVectorError:
            return 0.0

    def read_stretch(self, index: int, offset_s: float, duration_s: float) -> np.ndarray:
        """A stretch of a clip, float32 ``(samples,)`` at the front end's rate, unchecked."""
        return self.front_end.decode(self.paths[index], offset_s=offset_s, duration_s=duration_s)

    def read_whole(self, index: int) -> np.ndarray:
        """A clip as it is used outside training: checked, and without silence if so configured."""
        return self.front_end.read_clip(self.paths[index])


class PackedClips:
    """The clips of a packed corpus, with the methods of :class:`FileClips`.

    Raises:
        DataError: the corpus was packed at another rate, or of another channel.
    """

    def __init__(self, corpus: PackedCorpus, front_end: FrontEnd) -> None:
        if corpus.sample_rate != front_end.sample_rate:
            raise DataError(
                f"'{corpus.path}' was packed at {corpus.sample_rate} Hz and the configuration asks "
                f"for {front_end.sample_rate} Hz; pack the corpus again with --sample_rate "
                f"{front_end.sample_rate}, or set dataset_conf.sample_rate."
            )
        packed_channel = corpus.meta.get("source", {}).get("channel", "auto")
        if packed_channel != front_end.channel:
            raise DataError(
                f"'{corpus.path}' was packed with --channel {packed_channel} and the configuration "
                f"asks for {front_end.channel}; pack the corpus again with --channel "
                f"{front_end.channel}, or set dataset_conf.channel.",
                code="packed-other-settings",
            )
        self.corpus = corpus
        self.front_end = front_end

    def duration_s(self, index: int) -> float:
        return self.corpus.duration_s(index)

    def durations_s(self) -> np.ndarray:
        return np.asarray(self.corpus.num_samples) / self.corpus.sample_rate

    def read_stretch(self, index: int, offset_s: float, duration_s: float) -> np.ndarray:
        start = round(offset_s * self.corpus.sample_rate)
        return self.corpus.read(index, start, start + round(duration_s * self.corpus.sample_rate))

    def read_whole(self, index: int) -> np.ndarray:
        return self.front_end.read_clip((self.corpus.read(index), self.corpus.sample_rate))


def open_copies(folders: Sequence[str], original: PackedClips) -> list[PackedClips]:
    """Copies of a packed corpus, such as ``pack_corpus`` makes with an augmentation.

    Raises:
        DataError: a folder cannot be used, or holds other clips than the original, others in
            number, order or length.
    """
    copies = []
    for folder in folders:
        copy = PackedClips(PackedCorpus(folder), original.front_end)
        known, found = original.corpus, copy.corpus
        same_paths = known.meta["files"][PATHS_NAME] == found.meta["files"][PATHS_NAME]
        if not (
            same_paths
            and np.array_equal(known.num_samples, found.num_samples)
            and np.array_equal(known.labels, found.labels)
        ):
            raise DataError(
                f"'{folder}' of augment_conf.copies is no copy of '{known.path}': paths, lengths "
                "or labels of its clips differ; pack it from the same list with the same options."
            )
        copies.append(copy)
    return copies


ClipSource: TypeAlias = FileClips | PackedClips
