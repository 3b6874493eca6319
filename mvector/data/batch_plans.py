"""Which clips make the batches of an epoch: four plans, each a function of (seed, epoch).

Crops have the configured length; :mod:`mvector.data.length_plans` has plans with others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mvector.data.samplers import BatchPlan, PlannedBatch
from mvector.errors import DataError, count_of


class RandomBatches:
    """Every clip once an epoch, in random order.

    Args:
        num_clips: clips to draw from.
        batch_size: clips in a batch.
        drop_last: leave out the clips that do not fill a batch, other ones in every epoch.
            Otherwise the last batch may be smaller; it is topped up with clips from the start of
            the epoch to ``multiple``, and to two, as batch normalisation cannot work on one.
        seed: of the whole run.
        multiple: number of processes that share a batch.

    Raises:
        DataError: there are too few clips for a single batch.
    """

    def __init__(
        self, num_clips: int, batch_size: int, *, drop_last: bool, seed: int, multiple: int = 1
    ) -> None:
        self.num_clips = num_clips
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.multiple = multiple
        self.seed = seed
        if num_clips < (batch_size if drop_last else max(2, multiple)):
            raise DataError(
                f"The training list holds {count_of(num_clips, 'clip')}, fewer than a batch of "
                f"{batch_size}: "
                "lower dataset_conf.dataLoader.batch_size."
            )

    def __len__(self) -> int:
        full, rest = divmod(self.num_clips, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_clips)
        return self.in_batches(order)

    def in_batches(self, order: np.ndarray) -> Iterator[PlannedBatch]:
        """Clips in batches of the configured size, the last one topped up."""
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            clips = order[start : start + self.batch_size]
            yield PlannedBatch(top_up_batch(clips, order, self.multiple))

    def describe(self) -> str:
        left_out = self.num_clips % self.batch_size if self.drop_last else 0
        but = f" but {left_out}, others in every epoch (dataLoader.drop_last)" if left_out else ""
        return f"An epoch holds every clip{but}."


class BalancedBatches:
    """Every speaker as often, however many clips each has; as many samples as there are clips.

    A speaker with few clips has them repeated (as other crops); of a speaker with many, others
    are drawn in each epoch. ``labels`` is the speaker of each clip, ``(clips,)``; all else is as
    for :class:`RandomBatches`.
    """

    def __init__(
        self, labels: np.ndarray, batch_size: int, *, drop_last: bool, seed: int, multiple: int = 1
    ) -> None:
        self.unbalanced = RandomBatches(
            len(labels), batch_size, drop_last=drop_last, seed=seed, multiple=multiple
        )
        _, self.speaker, self.num_clips = np.unique(labels, return_inverse=True, return_counts=True)

    def __len__(self) -> int:
        return len(self.unbalanced)

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        rng = np.random.default_rng((self.unbalanced.seed, epoch))
        total, num_speakers = len(self.speaker), len(self.num_clips)
        shuffled = rng.permutation(total)
        by_speaker = shuffled[np.argsort(self.speaker[shuffled], kind="stable")]
        first = np.cumsum(self.num_clips) - self.num_clips
        # rounds in which each speaker has one turn; in round k it is its k-th clip's, cyclically
        rounds = np.arange(total) // num_speakers
        turns = np.tile(np.arange(num_speakers), (int(rounds[-1]) + 1, 1))
        speakers = rng.permuted(turns, axis=1).ravel()[:total]
        clips = by_speaker[first[speakers] + rounds % self.num_clips[speakers]]
        return self.unbalanced.in_batches(clips)

    def describe(self) -> str:
        turns = len(self.speaker) // len(self.num_clips)
        return (
            f"An epoch holds every speaker {turns} or {turns + 1} times; those with more clips "
            "have some sit out, others in every epoch."
        )


class SpeakerBatches:
    """As many clips of each speaker in a batch: P speakers x K clips.

    In each epoch every speaker's clips are put in random groups of ``clips_per_speaker``. A batch
    joins groups of different speakers, and no group is in two batches. Clips that do not fill a
    group and groups that do not find enough other speakers sit the epoch out; which ones they are
    changes from epoch to epoch. A speaker with fewer clips than a group holds has one group, in
    which clips are repeated (as other crops).

    Args:
        labels: ``(clips,)`` speaker of each clip.
        speakers_per_batch: speakers in a batch, at least two.
        clips_per_speaker: clips of each of them, at least two.
        seed: of the whole run.
        num_processes: that share a batch; each compares the clips of its own share alone.

    Raises:
        DataError: there are too few speakers for a batch, or too few clips to compare in the share
            of a process.
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        speakers_per_batch: int,
        clips_per_speaker: int,
        seed: int,
        num_processes: int = 1,
    ) -> None:
        order = np.argsort(labels, kind="stable")
        _, starts = np.unique(labels[order], return_index=True)
        self.clips = np.split(order, starts[1:])  # of each speaker
        self.num_groups = np.array([max(1, len(own) // clips_per_speaker) for own in self.clips])
        self.speakers_per_batch = speakers_per_batch
        self.clips_per_speaker = clips_per_speaker
        self.num_clips = len(labels)
        self.seed = seed
        own = speakers_per_batch // num_processes
        if min(own, clips_per_speaker) < 2:
            of_process = " of a process" if num_processes > 1 else ""
            raise DataError(
                f"A batch{of_process} with {count_of(own, 'speaker')} and "
                f"{count_of(clips_per_speaker, 'clip')} of each leaves nothing to compare; raise "
                "dataset_conf.dataLoader.batch_size, which is that of one process, to "
                f"{2 * max(clips_per_speaker, 2)} or more."
            )
        if len(self.clips) < speakers_per_batch:
            raise DataError(
                f"The training list holds {count_of(len(self.clips), 'speaker')}, fewer than the "
                f"{speakers_per_batch} of a batch: lower dataset_conf.dataLoader.batch_size."
            )

    def __len__(self) -> int:
        rounds = np.arange(self.num_groups.max())
        num_speakers = len(self.clips) - np.searchsorted(np.sort(self.num_groups), rounds, "right")
        return int((num_speakers // self.speakers_per_batch).sum())

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        rng = np.random.default_rng((self.seed, epoch))
        clips = [rng.permutation(own) for own in self.clips]
        batches = self._speakers_of_batches(rng)
        for number in rng.permutation(len(batches)):  # late rounds hold the same few speakers
            round_, speakers = batches[number]
            yield PlannedBatch(
                np.concatenate([self._group(clips[speaker], round_) for speaker in speakers])
            )

    def describe(self) -> str:
        used = len(self) * self.speakers_per_batch * self.clips_per_speaker
        return (
            f"An epoch holds {used} samples of the {self.num_clips} clips, "
            f"{self.speakers_per_batch} speakers x {self.clips_per_speaker} clips a batch; what "
            "sits out changes from epoch to epoch."
        )

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


class DomainBatches:
    """Batches of one domain each: those of every domain's own plan, mixed at random.

    Args:
        parts: of each domain by its name, its clips ``(clips,)`` as positions in the whole list,
            and a plan of batches whose clips are positions among those.
        seed: of the whole run.
    """

    def __init__(self, parts: Mapping[str, tuple[np.ndarray, BatchPlan]], *, seed: int) -> None:
        self.parts = parts
        self.seed = seed

    def __len__(self) -> int:
        return sum(len(plan) for _, plan in self.parts.values())

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        parts = list(self.parts.values())
        walks = [plan.batches(epoch) for _, plan in parts]
        turns = np.repeat(np.arange(len(parts)), [len(plan) for _, plan in parts])
        for turn in np.random.default_rng((self.seed, epoch, 2)).permutation(turns):
            batch = next(walks[turn])
            yield PlannedBatch(parts[turn][0][batch.clips], batch.crop_s)

    def describe(self) -> str:
        described = (
            f"{name} {count_of(len(clips), 'clip')} in {count_of(len(plan), 'batch', 'batches')}"
            for name, (clips, plan) in self.parts.items()
        )
        return f"Every batch is of one domain: {', '.join(described)}."


def top_up_batch(clips: np.ndarray, order: np.ndarray, multiple: int) -> np.ndarray:
    """The last clips of an epoch, with some from its start until all processes have as many."""
    size = max(-(-len(clips) // multiple) * multiple, 2 * multiple)
    missing = size - len(clips)
    return np.concatenate([clips, np.resize(order, missing)]) if missing > 0 else clips
