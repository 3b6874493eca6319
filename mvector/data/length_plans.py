"""Batches in crops of different lengths, as a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mvector.data.batch_plans import top_up_batch
from mvector.data.samplers import BatchPlan, PlannedBatch
from mvector.errors import DataError

_NUM_LENGTHS = 16  # few enough for kernels that are compiled or tuned for each


class DurationBatches:
    """Clips of similar length together, every clip once an epoch, as much audio in each batch.

    The crop of a batch is as long as its shortest clip (in steps of a twentieth), so that long
    clips are heard at length and short ones are not repeated.

    Args:
        durations_s: ``(clips,)`` length of each clip in seconds.
        batch_s: seconds of audio in a batch, at most.
        min_s: shortest crop.
        max_s: longest crop.
        seed: of the whole run.
        multiple: number of processes that share a batch.

    Raises:
        DataError: a batch cannot hold two of the longest crops for each process.
    """

    def __init__(
        self,
        durations_s: np.ndarray,
        *,
        batch_s: float,
        min_s: float,
        max_s: float,
        seed: int,
        multiple: int = 1,
    ) -> None:
        if batch_s < 2 * multiple * max_s:
            raise DataError(
                f"A batch of {batch_s:g} s cannot hold two crops of {max_s:g} s for each process; "
                "raise dataset_conf.batch_duration or lower dataset_conf.max_duration."
            )
        clipped = np.clip(durations_s, min_s, max_s)
        steps = np.floor(np.log(clipped / min_s) / np.log(1.05) + 1e-6)
        crops = np.where(clipped >= max_s, max_s, np.minimum(min_s * 1.05**steps, max_s))
        self.crops = np.round(crops, 3)
        self.seed = seed
        self.multiple = multiple
        ordered = -np.sort(-self.crops)
        self.ends: list[int] = []
        while (start := self.ends[-1] if self.ends else 0) < len(ordered):
            count = int(batch_s / ordered[start]) // multiple * multiple
            self.ends.append(min(start + count, len(ordered)))

    def __len__(self) -> int:
        return len(self.ends)

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        rng = np.random.default_rng((self.seed, epoch))
        order = np.lexsort((rng.random(len(self.crops)), -self.crops))
        starts = [0, *self.ends[:-1]]
        for number in rng.permutation(len(self.ends)):
            clips = top_up_batch(order[starts[number] : self.ends[number]], order, self.multiple)
            yield PlannedBatch(clips, float(self.crops[clips].min()))

    def describe(self) -> str:
        shortest, longest = self.crops.min(), self.crops.max()
        return f"An epoch holds every clip, in crops of {shortest:g} to {longest:g} s."


class MixedLengths:
    """The batches of another plan, each in crops of another length.

    Short crops teach what single words will need, long ones what sentences allow. Sixteen lengths,
    evenly spaced on a logarithmic scale, come equally often in every epoch, in random order, so
    that every epoch holds as much audio.

    Args:
        plan: the batches.
        shortest_s: length of the shortest crops in seconds.
        longest_s: of the longest.
        seed: of the whole run.
    """

    def __init__(self, plan: BatchPlan, *, shortest_s: float, longest_s: float, seed: int) -> None:
        self.plan = plan
        self.lengths_s = np.geomspace(shortest_s, longest_s, _NUM_LENGTHS).round(3)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.plan)

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        num_batches = len(self.plan)
        spread = np.arange(num_batches) * _NUM_LENGTHS // num_batches
        order = np.random.default_rng((self.seed, epoch, 1)).permutation(spread)
        for number, batch in zip(order, self.plan.batches(epoch), strict=True):
            yield PlannedBatch(batch.clips, float(self.lengths_s[number]))

    def describe(self) -> str:
        shortest, longest = self.lengths_s[[0, -1]]
        return (
            f"{self.plan.describe()} Crops are {shortest:g} to {longest:g} s long, "
            f"{self.lengths_s.mean():.2g} s on the average."
        )
