"""Noises, talkers and impulse responses: the clips of a folder, read fast and again and again."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvector.audio import PassedOver, audio_info, read_audio
from mvector.data.augmentation.memory import SharedArrays
from mvector.data.packed import PackedCorpus, is_packed
from mvector.errors import MVectorError
from mvector.progress import progress_bar

logger = logging.getLogger(__name__)

_TRIES = 10  # draws for each talker before a speaker may come twice
_SLACK_S = 0.1  # headers of lossy formats may understate the length by a frame


class ClipPool:
    """Clips to be drawn from, each decoded once as long as memory allows.

    Clips are mixed down to mono and resampled. Those that do not fit into ``cache_mb`` are read
    from their files each time, and only the stretch that is needed. A packed corpus needs no cache:
    it lies in memory that all processes share. A clip that turns out to be damaged when it is
    decoded counts as missing from then on, with one line that says so.

    Args:
        kind: what messages call it.
        folder: every clip below it; or a packed corpus; ``None`` gives an empty pool.
        sample_rate: rate of what is read, in Hz.
        cache_mb: most memory for decoded clips, in MB.
        dtype: how they are kept; see :class:`mvector.data.augmentation.memory.SharedArrays`.
        if_empty: what the warning says happens where there is no clip.

    Raises:
        DataError: a packed corpus is damaged.
    """

    def __init__(
        self,
        kind: str,
        folder: str | os.PathLike[str] | None,
        sample_rate: int,
        *,
        cache_mb: int = 512,
        dtype: type = np.int16,
        if_empty: str = "is off",
    ) -> None:
        self.kind, self.sample_rate = kind, sample_rate
        self.packed: PackedCorpus | None = None
        self.paths: Sequence[str | Path] = []
        self._damaged: set[int] = set()
        if folder is not None and is_packed(folder):
            self.packed = PackedCorpus(folder)
            self.paths = self.packed.paths
            return
        self.paths, durations_s = _find_clips(kind, folder, if_empty)
        folders = [str(Path(path).parent) for path in self.paths]
        self._labels = np.unique(folders, return_inverse=True)[1]
        if len(set(folders)) == 1:
            self._labels = np.arange(len(self.paths))
        capacities = [int((duration_s + _SLACK_S) * sample_rate) for duration_s in durations_s]
        self._durations_s = durations_s
        self._cache = SharedArrays(capacities, dtype, cache_mb * 1_000_000)
        if self._cache.num_kept < len(self.paths):
            logger.info(
                "Augmentation by %s: %d of %d clips fit into %d MB of memory; the others are read "
                "from their files each time.",
                *(kind, self._cache.num_kept, len(self.paths), cache_mb),
            )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> np.ndarray:
        """Speaker of each clip, ``(clips,)``.

        That is the folder that the clip lies in, or its label in a packed corpus. Where all clips
        lie in one folder, each is its own speaker.
        """
        return self._labels if self.packed is None else self.packed.labels

    def draw_talkers(self, count: int, rng: np.random.Generator) -> list[int]:
        """Clips of different speakers; some of one speaker where there are too few of them."""
        chosen: dict[int, int] = {}
        for _ in range(_TRIES * count):
            clip = int(rng.integers(len(self)))
            chosen.setdefault(int(self.labels[clip]), clip)
            if len(chosen) == count:
                return list(chosen.values())
        more = rng.integers(len(self), size=count - len(chosen))
        return [*chosen.values(), *more.tolist()]

    def read_stretch(self, index: int, num_samples: int, place: float) -> np.ndarray | None:
        """A stretch of one clip, from 0 (at its beginning) to 1 (at its end); repeated if shorter.

        Returns:
            A new float32 array ``(num_samples,)``; ``None`` if the clip is damaged.
        """
        stretch = self._read_or_none(index, num_samples, place)
        if stretch is None or len(stretch) == num_samples:
            return stretch
        return np.resize(stretch, num_samples)

    def read_whole(self, index: int) -> np.ndarray | None:
        """One clip; ``None`` if it is damaged."""
        return self._read_or_none(index, None, 0.0)

    def _read_or_none(self, index: int, num_samples: int | None, place: float) -> np.ndarray | None:
        if index in self._damaged:
            return None
        try:
            if self.packed is not None:
                return self._read_packed(index, num_samples, place)
            if index < self._cache.num_kept:
                return self._read_kept(index, num_samples, place)
            return self._read_file(index, num_samples, place)
        except (MVectorError, OSError) as error:
            self._damaged.add(index)
            logger.warning(
                "Augmentation by %s: a clip is left out, %d of %d so far: %s",
                *(self.kind, len(self._damaged), len(self), error),
            )
            return None

    def _read_packed(self, index: int, num_samples: int | None, place: float) -> np.ndarray:
        assert self.packed is not None
        rate = self.packed.sample_rate
        if num_samples is None:
            samples = self.packed.read(index)
        else:
            needed = -(-num_samples * rate // self.sample_rate)
            start = _start_of_stretch(int(self.packed.num_samples[index]), needed, place)
            samples = self.packed.read(index, start, start + needed)
        if rate != self.sample_rate:
            samples = read_audio((samples, rate), self.sample_rate)
        return samples if num_samples is None else samples[:num_samples]

    def _read_kept(self, index: int, num_samples: int | None, place: float) -> np.ndarray:
        def decode() -> np.ndarray:
            return read_audio(self.paths[index], self.sample_rate)

        if num_samples is None:
            return self._cache.read(index, decode)
        start = _start_of_stretch(self._cache.length(index, decode), num_samples, place)
        return self._cache.read(index, decode, start, start + num_samples)

    def _read_file(self, index: int, num_samples: int | None, place: float) -> np.ndarray:
        path = self.paths[index]
        if num_samples is None:
            return read_audio(path, self.sample_rate)
        needed_s = num_samples / self.sample_rate
        offset_s = place * max(self._durations_s[index] - needed_s, 0.0)
        samples = read_audio(path, self.sample_rate, offset_s=offset_s, duration_s=needed_s)
        return samples[:num_samples]


def _start_of_stretch(length: int, needed: int, place: float) -> int:
    return min(int(place * (length - needed + 1)), length - needed) if length > needed else 0


def _find_clips(
    kind: str, folder: str | os.PathLike[str] | None, if_empty: str
) -> tuple[list[Path], list[float]]:
    """Every clip below a folder whose header can be read, and how long it is."""
    passed_over = PassedOver()
    files = sorted(path for path in (Path(folder).rglob("*") if folder else ()) if path.is_file())
    found = [path for path in files if passed_over.takes(path)]
    passed_over.report(folder or "")
    durations_s: dict[Path, float] = {}
    for path in progress_bar(found, desc=f"Clips for {kind}", unit="clip"):
        try:
            duration_s = audio_info(path).duration_s
        except MVectorError:
            continue
        if duration_s > 0:
            durations_s[path] = duration_s
    num_bad = len(found) - len(durations_s)
    if not durations_s:
        where = f"the folder '{folder}' holds no audio" if folder else "no folder is configured"
        if num_bad:
            where = f"none of the {num_bad} files in '{folder}' can be read"
        logger.warning("Augmentation by %s %s: %s.", kind, if_empty, where)
    elif num_bad:
        logger.warning("Augmentation by %s: %d unreadable files left out.", kind, num_bad)
    return list(durations_s), list(durations_s.values())
