"""Batches of several clips of each of several speakers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mvector.data.samplers import SpeakerBatches
from mvector.errors import DataError


def labels_of(*num_clips: int) -> np.ndarray:
    """Labels of a list in which speaker k has ``num_clips[k]`` clips, in mixed order."""
    labels = np.repeat(np.arange(len(num_clips)), num_clips)
    return np.random.default_rng(0).permutation(labels)


def sampler_for(labels: np.ndarray, speakers: int = 3, clips: int = 4) -> SpeakerBatches:
    return SpeakerBatches(labels, speakers_per_batch=speakers, clips_per_speaker=clips, seed=7)


def epoch_of(sampler: SpeakerBatches, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert all(key_epoch == epoch for batch in batches for key_epoch, _ in batch)
    return [[clip for _, clip in batch] for batch in batches]


def test_each_batch_holds_so_many_clips_of_so_many_speakers() -> None:
    labels = labels_of(9, 12, 30, 8, 5, 11, 4)
    for batch in epoch_of(sampler_for(labels), 0):
        assert len(set(batch)) == 12
        assert sorted(Counter(labels[batch]).values()) == [4, 4, 4]


def test_no_clip_is_twice_in_an_epoch_and_nearly_all_are_in_it() -> None:
    labels = labels_of(*[20] * 10)
    clips = [clip for batch in epoch_of(sampler_for(labels), 3) for clip in batch]
    assert len(clips) == len(set(clips)) == 5 * 9 * 4  # five rounds, one of ten speakers left out


def test_what_sits_out_an_epoch_changes() -> None:
    labels = labels_of(7, 8, 9, 10)
    sampler = sampler_for(labels)
    seen = {clip for epoch in range(20) for batch in epoch_of(sampler, epoch) for clip in batch}
    assert len(seen) == len(labels)


@pytest.mark.parametrize("num_clips", [[9, 12, 30, 8, 5], [4, 4, 4], [1, 50, 3], [200, 4, 4, 8]])
def test_the_length_is_the_number_of_batches(num_clips: list[int]) -> None:
    sampler = sampler_for(labels_of(*num_clips))
    assert len(sampler) == len(epoch_of(sampler, 0)) == len(epoch_of(sampler, 1)) > 0


def test_a_speaker_with_few_clips_has_them_repeated() -> None:
    labels = labels_of(1, 3, 4)
    (batch,) = epoch_of(sampler_for(labels), 0)
    counts = Counter(batch)
    assert [counts[clip] for clip in np.flatnonzero(labels == 0)] == [4]
    assert sorted(counts[clip] for clip in np.flatnonzero(labels == 1)) == [1, 1, 2]
    assert [counts[clip] for clip in np.flatnonzero(labels == 2)] == [1, 1, 1, 1]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    labels = labels_of(*[8] * 6)
    sampler, again = sampler_for(labels), sampler_for(labels)
    epoch_of(again, 4)  # what came before does not matter
    assert epoch_of(sampler, 1) == epoch_of(again, 1)
    assert epoch_of(sampler, 1) != epoch_of(sampler, 2)
    other = SpeakerBatches(labels, speakers_per_batch=3, clips_per_speaker=4, seed=8)
    assert epoch_of(sampler, 1) != epoch_of(other, 1)


def test_speakers_with_many_clips_are_spread_over_the_epoch() -> None:
    labels = labels_of(*[40] * 3, *[4] * 30)
    batches = epoch_of(sampler_for(labels), 0)
    of_the_few = [number for number, batch in enumerate(batches) if (labels[batch] >= 3).any()]
    assert max(of_the_few) - min(of_the_few) > len(batches) // 2


def test_labels_need_not_be_consecutive() -> None:
    labels = labels_of(4, 4, 4) * 10
    assert sorted(set(labels[epoch_of(sampler_for(labels), 0)[0]])) == [0, 10, 20]


def test_too_few_speakers_are_refused() -> None:
    with pytest.raises(DataError, match="2 speakers, fewer than the 3"):
        sampler_for(labels_of(9, 9))


@pytest.mark.parametrize(("speakers", "clips"), [(1, 4), (4, 1)])
def test_batches_in_which_nothing_can_be_compared_are_refused(speakers: int, clips: int) -> None:
    with pytest.raises(DataError, match="batch_size"):
        sampler_for(labels_of(9, 9, 9, 9), speakers, clips)
