"""What a run trains and on what, as its configuration describes them."""

from __future__ import annotations

import logging

import numpy as np
import torch

from mvector.compute.distributed import World
from mvector.compute.precision import set_matmul_precision
from mvector.config import Config
from mvector.data.loader import TrainingData
from mvector.errors import ConfigError, count_of
from mvector.models.speaker_model import SpeakerModel
from mvector.training.learner import Learner
from mvector.training.memory import full_memory_as, keep_freed_memory
from mvector.training.teacher import read_teacher

logger = logging.getLogger(__name__)


def build_learner(
    config: Config, device: torch.device, world: World
) -> tuple[Learner, TrainingData]:
    """Training data, and a learner with an untrained model, as the configuration describes them.

    Raises:
        ConfigError: the settings do not go together.
        DataError: the list is missing, malformed or too small, or the teacher does not know it.
    """
    if device.type == "cpu":
        keep_freed_memory()
    set_matmul_precision(device, config.train_conf.matmul_precision)
    torch.manual_seed(config.train_conf.seed)
    model = SpeakerModel.from_config(config).to(device)
    _require_frames(config, model)
    data = TrainingData(
        config, pin_memory=device.type == "cuda", rank=world.rank, world_size=world.size
    )
    teacher = None
    if config.loss_conf.teacher is not None:
        teacher = read_teacher(config.loss_conf.teacher, data.clips, data.domain_of_class)
        size = teacher.shape[1]
        if config.loss_conf.teacher_loss == "embedding" and size != model.embd_dim:
            raise ConfigError(
                f"The embeddings of '{config.loss_conf.teacher}' have {size} dimensions and those "
                f"of the model {model.embd_dim}; set model_conf.backbone.embd_dim to {size}, or "
                "loss_conf.teacher_loss to similarity."
            )
    steps_in_epoch = len(data.batches) // config.train_conf.accumulate_batches
    with full_memory_as(
        f"The memory does not suffice for {count_of(data.num_classes, 'class', 'classes')} of "
        "speakers; leave dataset_conf.num_speakers out to have them counted, or split them over "
        "processes with train_conf.classifier_sharding."
    ):
        learner = Learner(
            config,
            model,
            data.num_classes,
            device,
            world,
            steps_in_epoch=steps_in_epoch,
            domain_of_class=data.domain_of_class,
            teacher=teacher,
        )
    if config.train_conf.sync_batch_norm and world.size == 1:
        logger.warning("train_conf.sync_batch_norm changes nothing: there is one process.")
    num_speakers = len(np.unique(data.clips.labels))
    logger.info(
        "Training clips: %d, speakers: %d%s, batches in an epoch: %d, device: %s%s",
        len(data.clips),
        num_speakers,
        f" (classes for {data.num_speakers})" if data.num_speakers > num_speakers else "",
        len(data.batches),
        device,
        f", processes: {world.size}" if world.size > 1 else "",
    )
    return learner, data


def require_learning(config: Config, *, is_random: bool) -> None:
    """Refuse a run that would leave a backbone as it was drawn, or begin with what it makes.

    Args:
        config: of the run.
        is_random: whether the backbone begins with random weights.

    Raises:
        ConfigError: its backbone is frozen in all epochs, or speakers' means are to come from it.
    """
    conf = config.train_conf
    if is_random and conf.classifier_from_means:
        raise ConfigError(
            "train_conf.classifier_from_means True takes mean embeddings of a trained backbone; "
            "begin with --pretrained_model, or set it to False."
        )
    if is_random and conf.freeze_backbone_epochs >= conf.max_epoch:
        raise ConfigError(
            f"With train_conf.freeze_backbone_epochs {conf.freeze_backbone_epochs} of max_epoch "
            f"{conf.max_epoch} the backbone would keep its random weights; lower it, or begin with "
            "--pretrained_model."
        )


def _require_frames(config: Config, model: SpeakerModel) -> None:
    """Refuse crops that the backbone cannot take, before any is read."""
    data = config.dataset_conf
    key, shortest_s = "max_duration", data.max_duration
    if data.batch_sampler == "duration":
        key, shortest_s = "min_duration", data.min_duration
    elif data.min_crop_duration is not None:
        key, shortest_s = "min_crop_duration", data.min_crop_duration
    num_samples = round(shortest_s * data.sample_rate)
    found = 0
    if num_samples >= model.featurizer.min_samples:
        found = model.featurizer.num_frames(num_samples)
    if found < model.min_frames:
        raise ConfigError(
            f"Crops of dataset_conf.{key} {shortest_s:g} s have {count_of(found, 'frame')}, and "
            f"{config.use_model} needs {model.min_frames} at least; raise it."
        )
