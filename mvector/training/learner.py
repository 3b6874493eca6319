"""What a training run changes from step to step: network, optimizer, schedules, random numbers."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mvector.compute.device import choose_autocast_dtype
from mvector.compute.distributed import World, gather_objects
from mvector.compute.exchange import all_reduce_sum
from mvector.compute.precision import exact_products
from mvector.config import Config
from mvector.data.augmentation.features import mask_features
from mvector.data.dataset import TrainingBatch
from mvector.errors import ConfigError
from mvector.losses import scheduled_margin
from mvector.losses.shard_state import (
    gather_optimizer_state,
    gather_state,
    load_state,
    shard_optimizer_state,
)
from mvector.losses.sharded import ShardedClassifier
from mvector.models.speaker_model import SpeakerModel
from mvector.training.exponential_average import ExponentialAverage
from mvector.training.network import (
    LABEL_LOSS,
    TEACHER_LOSS,
    TrainingNetwork,
    build_head,
    domains_of_head,
)
from mvector.training.optimizers import build_optimizer, load_optimizer_state, set_learning_rate
from mvector.training.progress import NanGuard, log_summary
from mvector.training.schedules import Plateau, learning_rate_at
from mvector.training.step import BatchResult, BatchWeight, TrainStep
from mvector.training.sync_batch_norm import convert_sync_batch_norm

logger = logging.getLogger(__name__)

_CLASSIFIER = "head.classifier."


class Learner:
    """Learns from batches, in this process and together with those of the other ones.

    Args:
        config: of the run.
        model: whose backbone is trained; it is on the device.
        num_classes: of the classifier.
        device: where is computed.
        world: the processes that train together.
        steps_in_epoch: steps of the optimizer in an epoch.
        domain_of_class: ``(classes,)`` for a softmax within domains, as
            :class:`mvector.losses.domains.ClassDomains` takes it.
        teacher: embeddings of all training clips by another model, ``(clips, D)``, whose
            similarities the backbone is to keep.

    Attributes:
        head: classifier and loss.
        network: backbone and head.
        average: moving average of the backbone's weights, if one is configured.
        plateau: watches the error rates.
        loss_parts: names of the losses that are added up, if there is more than one.

    Raises:
        ConfigError: the settings do not go together.
        MVectorError: half precision that the device does not have.
    """

    def __init__(
        self,
        config: Config,
        model: SpeakerModel,
        num_classes: int,
        device: torch.device,
        world: World,
        *,
        steps_in_epoch: int,
        domain_of_class: torch.Tensor | None = None,
        teacher: torch.Tensor | None = None,
    ) -> None:
        conf = config.train_conf
        self.config, self.model, self.device, self.world = config, model, device, world
        if conf.sync_batch_norm and world.size > 1:
            model.backbone = convert_sync_batch_norm(model.backbone)
        self.head = build_head(config, model.embd_dim, num_classes).to(device)
        self.domains = domains_of_head(self.head, domain_of_class, device)
        self.sharded = self.head if isinstance(self.head, ShardedClassifier) else None
        self.teacher = None if teacher is None else teacher.to(device)
        self.loss_parts = () if teacher is None else (LABEL_LOSS, TEACHER_LOSS)
        self.network = TrainingNetwork(
            model.backbone,
            self.head,
            label_weight=config.loss_conf.label_weight,
            teacher_weight=config.loss_conf.teacher_weight,
            teacher_loss=config.loss_conf.teacher_loss,
        )
        self.optimizer = build_optimizer(
            model.backbone.parameters(), self.head.parameters(), config.optimizer_conf
        )
        self.plateau = Plateau(config.optimizer_conf)
        decay = conf.ema_decay
        self.average = None if decay is None else ExponentialAverage(model.backbone, decay)
        self.nan_guard = NanGuard(min(conf.max_bad_steps, max(steps_in_epoch // 2, 2)))
        self.train_step = TrainStep(
            self.network,
            self.optimizer,
            device=device,
            autocast_dtype=choose_autocast_dtype(device, conf.enable_amp, conf.amp_dtype),
            max_grad_norm=conf.max_grad_norm,
            sharded=[] if self.sharded is None else list(self.sharded.parameters()),
        )
        if self.sharded is not None and self.train_step.scaler.is_enabled():
            raise ConfigError(
                "train_conf.classifier_sharding does not go with float16; set "
                "train_conf.amp_dtype to bfloat16, or enable_amp to False."
            )
        self._is_wrapped = False
        self._steps_unasked = 0
        self._clips_of_unit = 0  # in the first batch of the step under way, all processes together
        torch.manual_seed(conf.seed + world.rank)  # dropout differs between the processes
        if self.sharded is None:
            layers = nn.Sequential(model.backbone, cast("nn.Module", self.head.classifier))
        else:
            layers = nn.Sequential(model.backbone)
            logger.info(
                "Classifier: %d of %d speakers in each process, %g of them in a step",
                len(self.sharded.shard),
                num_classes,
                conf.classifier_sample_rate,
            )
        log_summary(layers, model.featurizer.feature_dim)

    def begin_epoch(self, epoch: int) -> None:
        """Be ready to train; the backbone is frozen or not as the configuration says."""
        frozen = epoch < self.config.train_conf.freeze_backbone_epochs
        if frozen != self.network.frozen or not self._is_wrapped:
            self.network.freeze_backbone(frozen)
            self.train_step.network = self._compiled_and_distributed()
            self._is_wrapped = True
        self.network.train()

    def _compiled_and_distributed(self) -> nn.Module:
        """The network compiled, and exchanging gradients with the other processes."""
        backbone, network = self.model.backbone, cast("nn.Module", self.network)
        if self.sharded is not None:  # its gradients are whole, and it talks while it computes
            if self.config.train_conf.use_compile:
                backbone = cast("nn.Module", torch.compile(backbone))
            if self.world.size > 1 and not self.network.frozen:
                backbone = DistributedDataParallel(backbone)
            return TrainingNetwork(backbone, self.sharded)
        if self.config.train_conf.use_compile:
            network = cast("nn.Module", torch.compile(network))
        return DistributedDataParallel(network) if self.world.size > 1 else network

    def set_schedules(self, epoch: float, step: int) -> float:
        """Set learning rate and margin for a point of the run, and return the rate.

        Args:
            epoch: epochs done, with the share of the one under way.
            step: batches done in the run.
        """
        max_epoch = self.config.train_conf.max_epoch
        learning_rate = learning_rate_at(
            epoch, self.config.optimizer_conf, max_epoch, self.plateau.num_reductions
        )
        set_learning_rate(self.optimizer, learning_rate)
        if self.config.loss_conf.use_margin_scheduler:
            args = self.config.loss_conf.margin_scheduler_args
            start, end = args.epochs(max_epoch)
            self.head.loss.margin = scheduled_margin(
                epoch,
                initial_margin=args.initial_margin,
                final_margin=args.final_margin,
                increase_start_epoch=start,
                fix_epoch=end,
                increase_type=args.increase_type,
            )
        if self.sharded is not None:
            self.sharded.step = step
        return learning_rate

    def inputs(self, batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, masked where so configured, and labels of a batch, on the device."""
        inputs = batch.inputs.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        with exact_products(self.device):  # as what is heard in use
            if inputs.dim() == 3:  # cached features
                features = self.model.featurizer.normalise(inputs)
            else:
                features, _ = self.model.features(inputs)
        spec_aug = self.config.augment_conf.spec_aug
        if spec_aug.prob > 0:
            features = mask_features(features, batch.mask_draws, spec_aug)
        return features, labels

    def batch_weight(self, num_clips: int) -> BatchWeight | None:
        """What a batch counts in the step under way; every process must ask.

        Every clip counts alike, in whichever batch and process it is, although each loss is a mean
        over its clips and gradients are averaged over the processes. The unit is the first batch
        of the step, so that the gradients are of the size that they have without accumulation. It
        is ``None`` if one of the processes has a single clip, on which batch normalisation cannot
        work: then all leave the batch out.
        """
        total, num_small = num_clips, int(num_clips < 2)
        if self.world.size > 1:
            total, num_small = all_reduce_sum(torch.tensor([total, num_small])).tolist()
        if num_small:
            return None
        unit = self._clips_of_unit = self._clips_of_unit or total
        own = total if self.sharded is not None else num_clips * self.world.size
        return BatchWeight(own / unit, total / unit)

    def learn(self, batch: TrainingBatch, *, weight: BatchWeight, last: bool) -> BatchResult:
        """Add a batch's gradients to the step's; see :meth:`TrainStep.accumulate`."""
        if self.domains is not None:
            self.domains.enter(batch.labels)
        features, labels = self.inputs(batch)
        targets = None
        if self.teacher is not None:
            targets = self.teacher[batch.clips.to(self.device, non_blocking=True)]
        return self.train_step.accumulate(features, labels, targets, weight=weight, last=last)

    def update(self, where: str) -> None:
        """The optimizer's step; one with bad gradients is left out, and too many end the run.

        Raises:
            MVectorError: too many; the message says ``where``.
        """
        was_finite = self.train_step.update()
        self._clips_of_unit = 0
        if was_finite is None:
            self._steps_unasked += 1
        else:
            self.nan_guard.count(int(not was_finite), 1, where)
        if self.average is not None and was_finite is not False:
            self.average.update()

    def count_bad_steps(self, where: str) -> None:
        """Count the bad steps that were left out on a GPU, where each was not asked about."""
        if self._steps_unasked:
            num_bad = int(self.train_step.num_bad) - self.nan_guard.num_total
            self.nan_guard.count(num_bad, self._steps_unasked, where)
            self._steps_unasked = 0

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs; every process must call, rank 0's is whole.

        A sharded classifier is saved as a whole one, for any number of processes.
        """
        network, optimizer = self.network.state_dict(), self.optimizer.state_dict()
        if self.sharded is not None:
            whole = gather_state(self.sharded) or {}
            network = {k: v for k, v in network.items() if not k.startswith("head.")}
            network |= {f"{_CLASSIFIER}{name}": rows for name, rows in whole.items()}
            optimizer = gather_optimizer_state(self.sharded, self.optimizer) or {}
        return {
            "network": network,
            "optimizer": optimizer,
            "train_step": self.train_step.state_dict(),
            "plateau": self.plateau.state_dict(),
            "nan_guard": self.nan_guard.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "rng": gather_objects(_random_state(self.device)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as :meth:`state_dict` tells.

        Raises:
            CheckpointError: it is of another network or optimizer.
            KeyError, RuntimeError, ValueError: likewise.
        """
        network, optimizer = dict(state["network"]), state["optimizer"]
        if self.sharded is not None:
            keys = [key for key in network if key.startswith(_CLASSIFIER)]
            load_state(self.sharded, {k.removeprefix(_CLASSIFIER): network.pop(k) for k in keys})
            optimizer = shard_optimizer_state(self.sharded, self.optimizer, optimizer)
            network = {key.removeprefix("backbone."): value for key, value in network.items()}
            self.model.backbone.load_state_dict(network)
        else:
            self.network.load_state_dict(network)
        load_optimizer_state(self.optimizer, optimizer)
        self.train_step.load_state_dict(state["train_step"])
        self.plateau.load_state_dict(state["plateau"])
        self.nan_guard.load_state_dict(state["nan_guard"])
        if self.average is not None:
            self.average.resume(state["average"])
        if self.world.rank < len(state["rng"]):  # not a process that the run did not have
            _set_random_state(self.device, state["rng"][self.world.rank])


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
