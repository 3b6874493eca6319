"""A step of several batches has the gradients of one large batch, whatever the batches hold."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from spawned_ranks import needs_gloo, run_ranks

from mvector import load_config
from mvector.compute.distributed import World
from mvector.data.dataset import TrainingBatch
from mvector.models.speaker_model import SpeakerModel
from mvector.training.learner import Learner

NUM_CLASSES, CROP = 4, 4000
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}
# clips in each batch of a step; a batch with a single clip is left out
STEPS = {"even": [3, 3], "mixed": [6, 2, 3], "one lost": [4, 1, 2], "the last one lost": [2, 5, 1]}
# the same for each of two processes; a batch is left out if either has a single clip of it
STEPS_OF_TWO = [([4, 2], [2, 3]), ([3, 1, 5], [2, 4, 2]), ([2, 4, 3], [6, 3, 1])]


def a_learner(config: dict[str, Any], world: World, **train_conf: Any) -> Learner:
    """The same weights in every process; what a clip does is not to depend on its batch."""
    config = copy.deepcopy(config)
    config["optimizer_conf"].update(optimizer="SGD", learning_rate=0.1)
    config["train_conf"].update(train_conf)
    checked, device = load_config(config), torch.device("cpu")
    torch.manual_seed(0)
    model = SpeakerModel.from_config(checked)
    learner = Learner(checked, model, NUM_CLASSES, device, world, steps_in_epoch=9)
    learner.begin_epoch(0)
    for module in learner.train_step.network.modules():
        module.training = False  # without batch statistics
    return learner


def draw(num_clips: int, seed: int) -> TrainingBatch:
    generator = torch.Generator().manual_seed(seed)
    return TrainingBatch(
        0.1 * torch.randn(num_clips, CROP, generator=generator),
        torch.randint(NUM_CLASSES, (num_clips,), generator=generator),
        torch.arange(num_clips),
        torch.zeros(num_clips, 0),
        [],
    )


def joined(batches: list[TrainingBatch]) -> TrainingBatch:
    inputs = torch.cat([batch.inputs for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    clips = torch.arange(len(labels))
    return TrainingBatch(inputs, labels, clips, torch.zeros(len(labels), 0), [])


def gradients(learner: Learner, batches: list[TrainingBatch]) -> dict[str, torch.Tensor]:
    """What the optimizer is given for a step of these batches."""
    found: dict[str, torch.Tensor] = {}

    def note(*_: object) -> None:
        for name, parameter in learner.network.named_parameters():
            assert parameter.grad is not None
            found[name] = parameter.grad.clone()

    hook = learner.optimizer.register_step_pre_hook(note)
    for number, batch in enumerate(batches, start=1):
        weight = learner.batch_weight(len(batch.labels))
        if weight is not None:
            learner.learn(batch, weight=weight, last=number == len(batches))
    learner.update("here")
    hook.remove()
    return found


@pytest.mark.parametrize("sizes", STEPS.values(), ids=STEPS)
def test_every_clip_of_a_step_counts_alike(small_config: dict, sizes: list[int]) -> None:
    batches = [draw(size, seed) for seed, size in enumerate(sizes)]
    used = [batch for batch in batches if len(batch.labels) > 1]
    expected = gradients(a_learner(small_config, World()), [joined(used)])
    found = gradients(a_learner(small_config, World()), batches)
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-2
    torch.testing.assert_close(found, expected, **TOLERANCE)


def test_a_step_does_not_remember_the_one_before(small_config: dict) -> None:
    learner = a_learner(small_config, World())
    for group in learner.optimizer.param_groups:
        group["lr"] = 0.0
    first, second = draw(6, 0), draw(2, 1)
    found = [gradients(learner, batches) for batches in ([first, second], [second])]
    alone = gradients(learner, [second])
    torch.testing.assert_close(found[1], alone, rtol=0, atol=0)


def in_two_processes(world: World, config: dict[str, Any]) -> list[tuple[dict, dict]]:
    """For each step: gradients of this process, and of one process with all the clips."""
    torch.set_num_threads(1)
    found = []
    for number, sizes in enumerate(STEPS_OF_TWO):
        of_ranks = [
            [draw(size, 100 * number + 10 * rank + k) for k, size in enumerate(own)]
            for rank, own in enumerate(sizes)
        ]
        used = [
            batch
            for pair in zip(*of_ranks, strict=True)
            if min(len(batch.labels) for batch in pair) > 1
            for batch in pair
        ]
        alone = gradients(a_learner(config, World()), [joined(used)])
        shared = gradients(a_learner(config, world), of_ranks[world.rank])
        found.append((shared, alone))
    return found


@needs_gloo
def test_every_clip_of_every_process_counts_alike(small_config: dict) -> None:
    of_ranks = run_ranks(in_two_processes, small_config)
    for found in of_ranks:
        for shared, alone in found:
            torch.testing.assert_close(shared, alone, **TOLERANCE)
    for one, other in pairwise(of_ranks):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)
