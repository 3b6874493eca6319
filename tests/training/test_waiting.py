"""A step asks the device for nothing: each answer would make a GPU's queue of work run empty.

There is no GPU here: the step runs on the CPU, with what it does for a GPU, and every operation
whose result or whose size Python would have to know is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from small_learner import NUM_CLIPS, settings_of_loss, small_learner
from small_settings import SMALL_BACKBONES
from torch.utils._python_dispatch import TorchDispatchMode

from mvector.data.dataset import TrainingBatch
from mvector.losses import LOSSES
from mvector.training.learner import Learner
from mvector.training.progress import Progress
from mvector.training.step import BatchWeight

ASKING = ("_local_scalar_dense", "is_nonzero", "masked_select", "equal")


class NothingIsAsked(TorchDispatchMode):
    """Refuses what copies from a GPU, or gives a tensor whose size is a matter of values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        waits = by_mask or name in ASKING or name.strip("_").startswith(("nonzero", "unique"))
        assert not waits, f"waits: {func}"
        return func(*args, **(kwargs or {}))


@contextmanager
def on_a_gpu(learner: Learner) -> Iterator[None]:
    """Within the block, the learner believes that it trains on one."""
    cpu, learner.train_step.device = learner.train_step.device, torch.device("cuda")
    try:
        yield
    finally:
        learner.train_step.device = cpu


def learner_of(settings: dict[str, Any]) -> tuple[Learner, TrainingBatch]:
    waveforms = torch.randn(NUM_CLIPS, 16000, generator=torch.Generator().manual_seed(0))
    return small_learner(settings, waveforms)


def take_steps(learner: Learner, batch: TrainingBatch) -> None:
    progress = Progress(0, 1, 9, torch.device("cpu"))
    with on_a_gpu(learner), NothingIsAsked():
        for last in (False, True):
            progress.add(NUM_CLIPS, learner.learn(batch, weight=BatchWeight(), last=last))
        learner.update("here")
    assert int(learner.train_step.num_bad) == 0


@pytest.mark.parametrize("backbone", SMALL_BACKBONES)
def test_no_backbone_waits(backbone: str) -> None:
    settings = {"use_model": backbone, "model_conf.backbone": SMALL_BACKBONES[backbone]}
    take_steps(*learner_of(settings))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_loss_waits(loss: str) -> None:
    take_steps(*learner_of({**settings_of_loss(loss), "train_conf.max_grad_norm": 1.0}))


def test_neither_does_a_split_classifier_nor_an_average_of_weights() -> None:
    settings = {
        "train_conf.classifier_sharding": True,
        "train_conf.classifier_sample_rate": 0.5,
        "train_conf.ema_decay": 0.9,
    }
    take_steps(*learner_of(settings))


def test_a_wait_would_be_noticed() -> None:
    with NothingIsAsked():
        for ask in (torch.Tensor.item, bool, torch.nonzero, lambda x: x[x > 0], torch.unique):
            with pytest.raises(AssertionError, match="waits"):
                ask(torch.ones(1))
