"""A small training that is ready for a step, for tests and for benchmarks/gpu.py."""

from __future__ import annotations

from typing import Any

import torch
from small_settings import changed_config

from mvector.compute.distributed import World
from mvector.config import load_config
from mvector.data.dataset import TrainingBatch
from mvector.losses import LOSSES
from mvector.models.speaker_model import SpeakerModel
from mvector.training.learner import Learner

NUM_CLASSES, NUM_CLIPS = 12, 8


def small_learner(
    settings: dict[str, Any], waveforms: torch.Tensor, device: str = "cpu"
) -> tuple[Learner, TrainingBatch]:
    """A training in its first epoch, and its batch: two clips each of four speakers."""
    spec_aug = {"prob": 0.5, "n_freq_masks": 1, "n_time_masks": 1}
    config = load_config(changed_config({"augment_conf": {"spec_aug": spec_aug}, **settings}))
    torch.manual_seed(0)
    place = torch.device(device)
    model = SpeakerModel.from_config(config).to(place)
    learner = Learner(config, model, NUM_CLASSES, place, World(), steps_in_epoch=99)
    learner.begin_epoch(0)
    learner.set_schedules(0.5, 3)
    draws = torch.rand(NUM_CLIPS, 5, generator=torch.Generator().manual_seed(1))
    labels, clips = torch.arange(NUM_CLIPS) // 2, torch.arange(NUM_CLIPS)
    return learner, TrainingBatch(waveforms, labels, clips, draws, [])


def settings_of_loss(loss: str) -> dict[str, Any]:
    """A loss, and the sampler that it needs."""
    sampler = "speakers" if LOSSES[loss].needs_embeddings else "random"
    return {"loss_conf": {"use_loss": loss}, "dataset_conf.batch_sampler": sampler}
