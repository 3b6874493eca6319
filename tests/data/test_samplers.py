"""Batches: what an epoch holds, how processes share it, and that any batch can be the first."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from mvector.data.batch_plans import (
    BalancedBatches,
    DomainBatches,
    RandomBatches,
    SpeakerBatches,
)
from mvector.data.length_plans import DurationBatches, MixedLengths
from mvector.data.samplers import BatchPlan, TrainingBatches
from mvector.errors import DataError


def labels_of(*num_clips: int) -> np.ndarray:
    """Labels of a list in which speaker k has ``num_clips[k]`` clips, in mixed order."""
    labels = np.repeat(np.arange(len(num_clips)), num_clips)
    return np.random.default_rng(0).permutation(labels)


LABELS = labels_of(9, 12, 30, 8, 5, 11, 4)
DURATIONS_S = np.random.default_rng(1).uniform(0.2, 12.0, size=len(LABELS))


def speakers_of(labels: np.ndarray, speakers: int = 3, clips: int = 4) -> SpeakerBatches:
    return SpeakerBatches(labels, speakers_per_batch=speakers, clips_per_speaker=clips, seed=7)


def random_plan(seed: int) -> BatchPlan:
    return RandomBatches(len(LABELS), 8, drop_last=False, multiple=2, seed=seed)


def balanced_plan(seed: int) -> BatchPlan:
    return BalancedBatches(LABELS, 8, drop_last=False, multiple=2, seed=seed)


def speakers_plan(seed: int) -> BatchPlan:
    return SpeakerBatches(LABELS, speakers_per_batch=4, clips_per_speaker=2, seed=seed)


def duration_plan(seed: int) -> BatchPlan:
    return DurationBatches(DURATIONS_S, batch_s=40, min_s=0.5, max_s=6.0, multiple=2, seed=seed)


def mixed_plan(seed: int) -> BatchPlan:
    return MixedLengths(random_plan(seed), shortest_s=1.0, longest_s=4.0, seed=seed)


def domains_plan(seed: int) -> BatchPlan:
    parts: dict[str, tuple[np.ndarray, BatchPlan]] = {}
    for name, clips in (("even", np.arange(0, len(LABELS), 2)), ("few", np.arange(1, 12, 2))):
        plan = RandomBatches(len(clips), 8, drop_last=False, multiple=2, seed=seed)
        parts[name] = clips, plan
    return DomainBatches(parts, seed=seed)


PLANS = [random_plan, balanced_plan, speakers_plan, duration_plan, mixed_plan, domains_plan]


def epoch_of(plan: BatchPlan, epoch: int) -> list[list[int]]:
    return [batch.clips.tolist() for batch in plan.batches(epoch)]


# ---- every plan -----------------------------------------------------------------------------


@pytest.mark.parametrize("plan_of", PLANS)
def test_the_batches_are_a_function_of_seed_and_epoch(plan_of: Callable[[int], BatchPlan]) -> None:
    plan, again = plan_of(7), plan_of(7)
    epoch_of(again, 4)  # what came before does not matter
    assert epoch_of(plan, 1) == epoch_of(again, 1)
    assert epoch_of(plan, 1) != epoch_of(plan, 2)
    assert epoch_of(plan, 1) != epoch_of(plan_of(8), 1)


@pytest.mark.parametrize("plan_of", PLANS)
def test_every_epoch_has_the_number_of_batches_that_is_its_length(
    plan_of: Callable[[int], BatchPlan],
) -> None:
    plan = plan_of(7)
    assert len(plan) == len(epoch_of(plan, 0)) == len(epoch_of(plan, 1)) > 3


@pytest.mark.parametrize("plan_of", PLANS)
def test_an_iteration_can_begin_at_any_batch(plan_of: Callable[[int], BatchPlan]) -> None:
    batches = TrainingBatches(plan_of(7))
    batches.set_position(3)
    whole = list(batches)
    for first in (1, len(whole) - 1, len(whole)):
        batches.set_position(3, first)
        assert list(batches) == whole[first:]


@pytest.mark.parametrize("plan_of", PLANS)
def test_processes_share_each_batch_evenly(plan_of: Callable[[int], BatchPlan]) -> None:
    alone = list(TrainingBatches(plan_of(7)))
    shares = [list(TrainingBatches(plan_of(7), rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert len(first) == len(second) >= 2
        assert first + second == whole


@pytest.mark.parametrize("plan_of", PLANS)
def test_no_two_samples_of_an_epoch_share_their_random_numbers(
    plan_of: Callable[[int], BatchPlan],
) -> None:
    positions = [key.position for batch in TrainingBatches(plan_of(7)) for key in batch]
    assert positions == list(range(len(positions)))


# ---- random ---------------------------------------------------------------------------------


def test_random_batches_hold_every_clip_once_an_epoch() -> None:
    plan = RandomBatches(23, 5, drop_last=False, seed=1)
    for epoch in (0, 1):
        assert sorted(np.concatenate(epoch_of(plan, epoch))) == list(range(23))
    assert [len(batch) for batch in epoch_of(plan, 0)] == [5, 5, 5, 5, 3]


def test_a_last_batch_too_small_for_all_processes_is_topped_up() -> None:
    for num_clips, multiple, last in ((21, 1, 2), (25, 5, 10), (22, 5, 10), (20, 5, 20)):
        plan = RandomBatches(num_clips, 20, drop_last=False, multiple=multiple, seed=1)
        batches = epoch_of(plan, 0)
        assert len(batches[-1]) == last
        assert set(np.concatenate(batches)) == set(range(num_clips))


def test_drop_last_leaves_out_other_clips_in_every_epoch_and_says_how_many() -> None:
    plan = RandomBatches(23, 5, drop_last=True, seed=1)
    epochs = [set(np.concatenate(epoch_of(plan, epoch))) for epoch in range(10)]
    assert {len(clips) for clips in epochs} == {20}
    assert set.union(*epochs) == set(range(23))
    assert "every clip but 3" in plan.describe()


def test_fewer_clips_than_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match=r"holds 3 clips, fewer than a batch of 8: lower"):
        RandomBatches(3, 8, drop_last=True, seed=1)


# ---- balanced -------------------------------------------------------------------------------


def test_balanced_batches_give_every_speaker_as_many_turns() -> None:
    labels = labels_of(1, 2, 50, 7)
    plan = BalancedBatches(labels, 6, drop_last=False, seed=3)
    counts = Counter(labels[np.concatenate(epoch_of(plan, 0))])
    assert set(counts.values()) <= {15}
    assert len(counts) == 4


def test_balanced_batches_repeat_a_clip_only_when_its_speaker_has_no_other() -> None:
    labels = labels_of(1, 2, 50, 7)
    plan = BalancedBatches(labels, 6, drop_last=False, seed=3)
    clips = Counter(np.concatenate(epoch_of(plan, 0)))
    for speaker, (fewest, most) in {0: (15, 15), 1: (7, 8), 2: (1, 1), 3: (2, 3)}.items():
        counts = [clips[clip] for clip in np.flatnonzero(labels == speaker) if clips[clip]]
        assert (min(counts), max(counts)) == (fewest, most)


def test_clips_of_a_large_speaker_take_turns_over_the_epochs() -> None:
    labels = labels_of(2, 60)
    plan = BalancedBatches(labels, 6, drop_last=False, seed=3)
    seen = {clip for epoch in range(12) for batch in epoch_of(plan, epoch) for clip in batch}
    assert len(seen) == len(labels)


# ---- several clips of each speaker ----------------------------------------------------------


def test_each_batch_holds_so_many_clips_of_so_many_speakers() -> None:
    for batch in epoch_of(speakers_of(LABELS), 0):
        assert len(set(batch)) == 12
        assert sorted(Counter(LABELS[batch]).values()) == [4, 4, 4]


def test_processes_get_whole_groups_of_a_speaker() -> None:
    for rank in (0, 1):
        share = TrainingBatches(speakers_of(LABELS, 4, 2), rank=rank, world_size=2)
        for batch in share:
            assert set(Counter(LABELS[[key.clip for key in batch]]).values()) == {2}


def test_no_clip_is_twice_in_an_epoch_and_nearly_all_are_in_it() -> None:
    labels = labels_of(*[20] * 10)
    clips = [clip for batch in epoch_of(speakers_of(labels), 3) for clip in batch]
    assert len(clips) == len(set(clips)) == 5 * 9 * 4  # five rounds, one of ten speakers left out


def test_what_sits_out_an_epoch_changes() -> None:
    labels = labels_of(7, 8, 9, 10)
    plan = speakers_of(labels)
    seen = {clip for epoch in range(20) for batch in epoch_of(plan, epoch) for clip in batch}
    assert len(seen) == len(labels)


@pytest.mark.parametrize("num_clips", [[9, 12, 30, 8, 5], [4, 4, 4], [1, 50, 3], [200, 4, 4, 8]])
def test_the_length_is_the_number_of_batches(num_clips: list[int]) -> None:
    plan = speakers_of(labels_of(*num_clips))
    assert len(plan) == len(epoch_of(plan, 0)) == len(epoch_of(plan, 1)) > 0


def test_a_speaker_with_few_clips_has_them_repeated() -> None:
    labels = labels_of(1, 3, 4)
    (batch,) = epoch_of(speakers_of(labels), 0)
    counts = Counter(batch)
    assert [counts[clip] for clip in np.flatnonzero(labels == 0)] == [4]
    assert sorted(counts[clip] for clip in np.flatnonzero(labels == 1)) == [1, 1, 2]
    assert [counts[clip] for clip in np.flatnonzero(labels == 2)] == [1, 1, 1, 1]


def test_speakers_with_many_clips_are_spread_over_the_epoch() -> None:
    labels = labels_of(*[40] * 3, *[4] * 30)
    batches = epoch_of(speakers_of(labels), 0)
    of_the_few = [number for number, batch in enumerate(batches) if (labels[batch] >= 3).any()]
    assert max(of_the_few) - min(of_the_few) > len(batches) // 2


def test_labels_need_not_be_consecutive() -> None:
    labels = labels_of(4, 4, 4) * 10
    assert sorted(set(labels[epoch_of(speakers_of(labels), 0)[0]])) == [0, 10, 20]


def test_too_few_speakers_are_refused() -> None:
    with pytest.raises(DataError, match="2 speakers, fewer than the 3"):
        speakers_of(labels_of(9, 9))


@pytest.mark.parametrize(("speakers", "clips"), [(1, 4), (4, 1)])
def test_batches_in_which_nothing_can_be_compared_are_refused(speakers: int, clips: int) -> None:
    with pytest.raises(DataError, match="batch_size"):
        speakers_of(labels_of(9, 9, 9, 9), speakers, clips)


def test_each_process_needs_two_speakers_to_compare() -> None:
    labels, sizes = labels_of(9, 9, 9, 9), {"clips_per_speaker": 4, "seed": 7}
    told = r"process with 1 speaker and 4 clips of each .* that of one process, to 8 or more"
    with pytest.raises(DataError, match=told):
        SpeakerBatches(labels, speakers_per_batch=2, num_processes=2, **sizes)
    plan = SpeakerBatches(labels, speakers_per_batch=4, num_processes=2, **sizes)
    for rank in range(2):
        for batch in TrainingBatches(plan, rank=rank, world_size=2):
            own = Counter(int(labels[key.clip]) for key in batch)
            assert sorted(own.values()) == [4, 4]


# ---- by duration ----------------------------------------------------------------------------


def test_duration_batches_hold_every_clip_and_no_more_audio_than_asked_for() -> None:
    plan = DurationBatches(DURATIONS_S, batch_s=40, min_s=0.5, max_s=6.0, seed=1)
    batches = list(plan.batches(0))
    assert set(np.concatenate([batch.clips for batch in batches])) == set(range(len(LABELS)))
    for clips, crop_s in batches:
        assert crop_s is not None
        assert len(clips) * crop_s <= 40 + 1e-9


def test_a_crop_is_no_longer_than_the_shortest_clip_of_its_batch() -> None:
    plan = DurationBatches(DURATIONS_S, batch_s=40, min_s=0.5, max_s=6.0, seed=1)
    crops = []
    for clips, crop_s in plan.batches(0):
        assert crop_s is not None
        assert crop_s <= max(0.5, DURATIONS_S[clips].min())
        crops.append(crop_s)
    assert min(crops) < 1.5
    assert max(crops) == 6.0


def test_a_batch_that_cannot_hold_two_crops_is_refused() -> None:
    with pytest.raises(DataError, match="batch_duration"):
        DurationBatches(DURATIONS_S, batch_s=11, min_s=0.5, max_s=6.0, seed=1)


def test_ten_million_clips_are_planned_in_arrays_and_not_in_lists() -> None:
    tracemalloc.start()
    first = next(RandomBatches(10_000_000, 256, drop_last=True, seed=1).batches(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(first.clips)) == 256
    assert peak < 3 * 10_000_000 * 8  # a list of as many numbers takes five times eight bytes each


# ---- mixed lengths --------------------------------------------------------------------------


def mixed(num_batches: int) -> MixedLengths:
    plan = RandomBatches(8 * num_batches, 8, drop_last=True, seed=7)
    return MixedLengths(plan, shortest_s=1.0, longest_s=4.0, seed=7)


def test_mixed_lengths_leave_the_clips_of_the_batches_alone() -> None:
    assert epoch_of(mixed_plan(7), 3) == epoch_of(random_plan(7), 3)


def test_every_length_comes_as_often_and_in_another_order_in_every_epoch() -> None:
    plan = mixed(160)
    first, second = ([batch.crop_s for batch in plan.batches(epoch)] for epoch in (0, 1))
    assert first != second
    assert set(Counter(first).values()) == {10}
    assert sorted(first) == sorted(second)


def test_lengths_are_evenly_spaced_on_a_logarithmic_scale() -> None:
    lengths = np.unique([batch.crop_s for batch in mixed(160).batches(0)])
    assert lengths[[0, -1]].tolist() == [1.0, 4.0]
    assert np.log2(lengths) == pytest.approx(np.linspace(0, 2, 16), abs=1e-3)


def test_an_epoch_of_a_few_batches_still_has_short_and_long_crops() -> None:
    lengths = sorted(batch.crop_s for batch in mixed(4).batches(0))
    assert lengths[0] < 1.3 < 2.6 < lengths[-1]
