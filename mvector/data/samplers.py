"""Training batches of several clips of each of several speakers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from mvector.errors import DataError


class SpeakerBatches(Sampler[list[tuple[int, int]]]):
    """Batches of ``(epoch, clip)`` keys with as many clips of each speaker in them.

    In each epoch every speaker's clips are put in random groups of ``clips_per_speaker``. A batch
    joins groups of different speakers, and no group is in two batches. Clips that do not fill a
    group and groups that do not find enough other speakers sit the epoch out; which ones they are
    changes from epoch to epoch. A speaker with fewer clips than a group holds has one group, in
    which clips are repeated. The order depends on (seed, epoch) only.

    Args:
        labels: ``(clips,)`` speaker of each clip.
        speakers_per_batch: speakers in a batch, at least two.
        clips_per_speaker: clips of each of them, at least two.
        seed: of the whole run.

    Raises:
        DataError: there are too few speakers for a batch, or batches too small to compare clips.
    """

    def __init__(
        self, labels: np.ndarray, *, speakers_per_batch: int, clips_per_speaker: int, seed: int
    ) -> None:
        order = np.argsort(labels, kind="stable")
        _, starts = np.unique(labels[order], return_index=True)
        self.clips = np.split(order, starts[1:])  # of each speaker
        self.num_groups = np.array([max(1, len(own) // clips_per_speaker) for own in self.clips])
        self.speakers_per_batch = speakers_per_batch
        self.clips_per_speaker = clips_per_speaker
        self.seed = seed
        self.epoch = 0
        if min(speakers_per_batch, clips_per_speaker) < 2:
            raise DataError(
                f"A batch of {speakers_per_batch} speakers with {clips_per_speaker} clips each "
                "leaves nothing to compare; raise dataset_conf.dataLoader.batch_size until it "
                "holds at least two clips of each of two speakers."
            )
        if len(self.clips) < speakers_per_batch:
            raise DataError(
                f"The training list holds {len(self.clips)} speakers, fewer than the "
                f"{speakers_per_batch} of a batch: lower dataset_conf.dataLoader.batch_size."
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        rounds = np.arange(self.num_groups.max())
        num_speakers = len(self.clips) - np.searchsorted(np.sort(self.num_groups), rounds, "right")
        return int((num_speakers // self.speakers_per_batch).sum())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        clips = [rng.permutation(own) for own in self.clips]
        batches = self._speakers_of_batches(rng)
        for number in rng.permutation(len(batches)):  # late rounds hold the same few speakers
            round_, speakers = batches[number]
            chosen = np.concatenate([self._group(clips[speaker], round_) for speaker in speakers])
            yield [(self.epoch, int(index)) for index in chosen]

    def _speakers_of_batches(self, rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
        """A batch takes one group of each of its speakers: in round 0 the first, and so on."""
        batches: list[tuple[int, np.ndarray]] = []
        size = self.speakers_per_batch
        for round_ in range(self.num_groups.max()):
            speakers = rng.permutation(np.flatnonzero(self.num_groups > round_))
            if len(speakers) < size:
                break  # later rounds have no more
            for end in range(size, len(speakers) + 1, size):
                batches.append((round_, speakers[end - size : end]))
        return batches

    def _group(self, clips: np.ndarray, round_: int) -> np.ndarray:
        start = round_ * self.clips_per_speaker
        return np.resize(clips[start : start + self.clips_per_speaker], self.clips_per_speaker)
